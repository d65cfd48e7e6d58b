//! Pure. Letters for bitmaps: a font of pixels that comes with the program, as fonts of the system differ and are out of reach.
//!
//! Lines are drawn so that their corners stay where they are.

use std::convert::Infallible;

use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::{FONT_7X13, FONT_9X18_BOLD};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::text::{Baseline, Text};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};

/// A size of text from which the larger font is used.
const LARGE: f64 = 16.0;

/// A backend that draws everything as the one inside it, but text and the corners of lines.
pub(super) struct Lettered<B>(pub(super) B);

type Outcome<B> = Result<(), DrawingErrorKind<<B as DrawingBackend>::ErrorType>>;

/// The pixels of a text.
#[derive(Default)]
struct Pixels(Vec<Point>);

impl OriginDimensions for Pixels {
    fn size(&self) -> Size {
        Size::new(u32::from(u16::MAX), u32::from(u16::MAX))
    }
}

impl DrawTarget for Pixels {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        let set = pixels.into_iter().filter(|Pixel(_, color)| color.is_on());
        self.0.extend(set.map(|Pixel(at, _)| at));
        Ok(())
    }
}

fn font(style: &impl BackendTextStyle) -> &'static MonoFont<'static> {
    if style.size() >= LARGE {
        &FONT_9X18_BOLD
    } else {
        &FONT_7X13
    }
}

fn extent(text: &str, font: &MonoFont<'_>) -> (u32, u32) {
    let letters = u32::try_from(text.chars().count()).unwrap_or(0);
    (letters * font.character_size.width, font.character_size.height)
}

impl<B: DrawingBackend> DrawingBackend for Lettered<B> {
    type ErrorType = B::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Outcome<B> {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Outcome<B> {
        self.0.present()
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Outcome<B> {
        self.0.draw_pixel(point, color)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Outcome<B> {
        self.0.draw_line(from, to, style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        one: BackendCoord,
        other: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Outcome<B> {
        self.0.draw_rect(one, other, style, fill)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Outcome<B> {
        // The corners of a whole path are pointed: at a sharp angle they would reach far beyond the chart.
        let mut points = path.into_iter();
        let Some(mut last) = points.next() else {
            return Ok(());
        };
        for next in points.filter(|_| style.stroke_width() > 0) {
            if next != last {
                self.0.draw_path([last, next], style)?;
            }
            last = next;
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        center: BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Outcome<B> {
        self.0.draw_circle(center, radius, style, fill)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        outline: I,
        style: &S,
    ) -> Outcome<B> {
        self.0.fill_polygon(outline, style)
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Self::ErrorType>> {
        Ok(extent(text, font(style)))
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Outcome<B> {
        let font = font(style);
        let (width, height) = extent(text, font);
        let (width, height) = (
            i32::try_from(width).unwrap_or(0),
            i32::try_from(height).unwrap_or(0),
        );
        let anchor = style.anchor();
        let left = match anchor.h_pos {
            HPos::Left => at.0,
            HPos::Center => at.0 - width / 2,
            HPos::Right => at.0 - width,
        };
        let top = match anchor.v_pos {
            VPos::Top => at.1,
            VPos::Center => at.1 - height / 2,
            VPos::Bottom => at.1 - height,
        };
        let mut pixels = Pixels::default();
        let letters = MonoTextStyle::new(font, BinaryColor::On);
        let Ok(_end) =
            Text::with_baseline(text, Point::new(left, top), letters, Baseline::Top).draw(&mut pixels);
        let (size, color) = (self.get_size(), style.color());
        let inside = |at: &Point| {
            let fits = |value: i32, most: u32| u32::try_from(value).is_ok_and(|value| value < most);
            fits(at.x, size.0) && fits(at.y, size.1)
        };
        let shown = pixels.0.into_iter().filter(inside);
        shown
            .map(|at| (at.x, at.y))
            .try_for_each(|at| self.0.draw_pixel(at, color))
    }
}
