//! Pure. Curves as a picture: the offset of each upstream with the announced bound as a band, the states, and the requests.
//!
//! One drawing is for all: a file in SVG or PNG, and the page.

mod letters;

use std::ops::Range;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::combinators::{BindKeyPoints, WithKeyPoints};
use plotters::coord::types::{RangedCoordf64, RangedCoordi64};
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, EmptyElement, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoTextStyle, RGBColor, TextStyle};

use super::curves::{CurvePoint, Curves, state_word};
use super::overview::brief;
use super::printable::printable;
use super::stamp::Stamp;
use letters::Lettered;

/// Colours of upstreams, which people with a colour weakness can tell apart, and that are seen on white and on black.
const PALETTE: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 140, 200),
    RGBColor(190, 130, 0),
    RGBColor(128, 110, 200),
    RGBColor(125, 125, 125),
];
/// The colour of the band.
const BAND: RGBColor = RGBColor(86, 180, 233);
/// The colour of text and axes.
pub const INK: RGBColor = RGBColor(32, 33, 36);
const PAPER: RGBColor = RGBColor(255, 255, 255);
const ANSWERED: RGBColor = RGBColor(0, 158, 115);
const REFUSED: RGBColor = RGBColor(230, 159, 0);
const LOST: RGBColor = RGBColor(204, 51, 17);
/// The part of the offsets that has to fit into the picture: a single wrong one must not make the others a line.
const FITTING: f64 = 0.97;

/// The look of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureStyle {
    /// Width and height.
    pub size: (u32, u32),
    /// The title; none leaves it out.
    pub title: Option<String>,
    /// Whether it has a background of its own.
    pub paper: bool,
    /// Whether each sample is a dot, too, if they are few.
    pub dots: bool,
}

impl PictureStyle {
    /// Returns the look of a file.
    pub fn file(title: String) -> Self {
        Self {
            size: (1200, 720),
            title: Some(title),
            paper: true,
            dots: true,
        }
    }
}

/// Draws curves as SVG.
///
/// # Errors
/// The library's, in words: none is known.
pub fn svg(curves: &Curves, span: (Stamp, Stamp), style: &PictureStyle) -> Result<String, String> {
    let mut text = String::new();
    let backend = SVGBackend::with_string(&mut text, style.size);
    draw(backend, curves, span, style).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Draws curves as PNG.
///
/// # Errors
/// The library's, in words: none is known.
pub fn png(curves: &Curves, span: (Stamp, Stamp), style: &PictureStyle) -> Result<Vec<u8>, String> {
    let (width, height) = style.size;
    let pixels =
        usize::try_from(u64::from(width) * u64::from(height) * 3).map_err(|error| error.to_string())?;
    let mut buffer = vec![255_u8; pixels];
    let backend = Lettered(BitMapBackend::with_buffer(&mut buffer, style.size));
    draw(backend, curves, span, style).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer
        .write_image_data(&buffer)
        .map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(bytes)
}

type Area<B> = DrawingArea<B, Shift>;
type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;
type Axes = Cartesian2d<WithKeyPoints<RangedCoordi64>, RangedCoordf64>;

fn draw<B: DrawingBackend>(
    backend: B,
    curves: &Curves,
    span: (Stamp, Stamp),
    style: &PictureStyle,
) -> Drawn<B> {
    let root = backend.into_drawing_area();
    if style.paper {
        root.fill(&PAPER)?;
    }
    let mut rest = root.margin(MARGIN, MARGIN, MARGIN, MARGIN);
    if let Some(title) = &style.title {
        let (top, below) = rest.split_vertically(26);
        top.draw(&Text::new(
            title.clone(),
            (4, 2),
            ink(18.0, HPos::Left, VPos::Top),
        ))?;
        rest = below;
    }
    let (names, below) = rest.split_vertically(legend_height(curves, style));
    legend(&names, curves)?;
    let (_, height) = below.dim_in_pixel();
    let (offsets, requests) = below.split_vertically(height * 62 / 100);
    offset_chart(&offsets, curves, span, style.dots)?;
    request_chart(&requests, curves, span)?;
    root.present()
}

fn ink(size: f64, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    ("sans-serif", size)
        .into_text_style(&(1200, 720))
        .color(&INK)
        .pos(Pos::new(horizontal, vertical))
}

/// The room around the picture.
const MARGIN: u32 = 8;
/// The width of an entry of the legend: names are cut to fit.
const ENTRY: u32 = 190;
const LETTERS: usize = 22;
/// The width of a letter, at most, in a word of a state.
const LETTER: i32 = 7;

fn legend_height(curves: &Curves, style: &PictureStyle) -> u32 {
    let columns = (style.size.0.saturating_sub(2 * MARGIN) / ENTRY).max(1);
    let entries = u32::try_from(curves.upstreams.len()).unwrap_or(0) + 1;
    entries.div_ceil(columns) * 18 + 4
}

fn legend<B: DrawingBackend>(area: &Area<B>, curves: &Curves) -> Drawn<B> {
    let (width, _) = area.dim_in_pixel();
    let columns = i32::try_from(width / ENTRY).unwrap_or(1).max(1);
    let band = std::iter::once(("announced error".to_owned(), BAND));
    let names = curves
        .upstreams
        .iter()
        .map(|name| printable(name))
        .zip(PALETTE.into_iter().cycle());
    let entry = i32::try_from(ENTRY).unwrap_or(190);
    for (index, (name, color)) in (0_i32..).zip(band.chain(names)) {
        let (x, y) = (index % columns * entry + 4, index / columns * 18 + 3);
        area.draw(&Rectangle::new([(x, y + 2), (x + 12, y + 12)], color.filled()))?;
        let short: String = name.chars().take(LETTERS).collect();
        area.draw(&Text::new(short, (x + 17, y), ink(13.0, HPos::Left, VPos::Top)))?;
    }
    Ok(())
}

fn offset_chart<B: DrawingBackend>(
    area: &Area<B>,
    curves: &Curves,
    span: (Stamp, Stamp),
    dots: bool,
) -> Drawn<B> {
    let most = largest(curves);
    let mut chart = axes(area, span, -most..most, |value| match value {
        // The sum of some steps is not quite zero.
        value if value.abs() < most * 1e-9 => "0".to_owned(),
        value if *value > 0.0 => format!("+{}", brief(*value)),
        value => brief(*value),
    })?;
    for run in runs(curves) {
        let bound = |point: &&CurvePoint| f64::from(point.bound.unwrap_or(0.0)).min(most);
        let step = i64::from(curves.step);
        let sides = |point: &&CurvePoint, sign: f64| {
            [
                (point.time, sign * bound(point)),
                (point.time + step, sign * bound(point)),
            ]
        };
        let above = run.iter().flat_map(|point| sides(point, 1.0));
        let below = run.iter().rev().flat_map(|point| {
            let [one, other] = sides(point, -1.0);
            [other, one]
        });
        let outline: Vec<(i64, f64)> = above.chain(below).collect();
        chart.draw_series([Polygon::new(outline, BAND.mix(0.35).filled())])?;
    }
    stripes(&mut chart, curves, most)?;
    for (index, color) in (0..curves.upstreams.len()).zip(PALETTE.into_iter().cycle()) {
        upstream_curve(&mut chart, curves, index, (most, dots), color)?;
    }
    Ok(())
}

/// Draws the offset of an upstream: a line where samples are near each other, and dots that are seen alone.
fn upstream_curve<B: DrawingBackend>(
    chart: &mut ChartContext<'_, B, Axes>,
    curves: &Curves,
    index: usize,
    (most, dots): (f64, bool),
    color: RGBColor,
) -> Drawn<B> {
    let points: Vec<(i64, f64)> = curves
        .offsets(index)
        .map(|(time, offset)| (time, offset.clamp(-most, most)))
        .collect();
    // Samples of the longest usual interval are connected.
    let far = (i64::from(curves.step) * 3).max(2100);
    for line in points.chunk_by(|one, next| next.0 - one.0 <= far) {
        chart.draw_series([PathElement::new(line.to_vec(), color.stroke_width(2))])?;
    }
    if dots && points.len() <= 120 {
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 2, color.filled())))?;
    }
    Ok(())
}

/// Draws a stripe with its word for each time that is not synchronized.
fn stripes<B: DrawingBackend>(chart: &mut ChartContext<'_, B, Axes>, curves: &Curves, most: f64) -> Drawn<B> {
    let step = i64::from(curves.step);
    let (low, high) = (-most, -most * 0.86);
    let recorded: Vec<&CurvePoint> = curves.points.iter().filter(|point| point.records > 0).collect();
    let runs = recorded.chunk_by(|one, next| one.state == next.state && next.time - one.time <= 2 * step);
    // The last word is the one that is read: those before it have the room that is left, or are left out.
    let mut room = chart.plotting_area().get_x_axis_pixel_range().end;
    for run in runs.rev() {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        if first.state == 0 {
            continue;
        }
        let color = if first.bound.is_some() { REFUSED } else { LOST };
        chart.draw_series([Rectangle::new(
            [(first.time, low), (last.time + step, high)],
            color.mix(0.75).filled(),
        )])?;
        let word = state_word(first.state).to_owned();
        let left = chart.backend_coord(&(first.time, high)).0;
        let width = i32::try_from(word.len()).unwrap_or(0) * LETTER;
        let start = left.min(room - width);
        if start + width < left {
            continue;
        }
        room = start - LETTER;
        let word = Text::new(word, (start - left, 0), ink(12.0, HPos::Left, VPos::Bottom));
        chart.draw_series([EmptyElement::at((first.time, high)) + word])?;
    }
    Ok(())
}

/// A count of a point.
type Layer = fn(&CurvePoint) -> u64;

fn request_chart<B: DrawingBackend>(area: &Area<B>, curves: &Curves, span: (Stamp, Stamp)) -> Drawn<B> {
    let step = i64::from(curves.step);
    let rate = |count: u64| (count as f64) / f64::from(curves.step.max(1));
    let all = |point: &CurvePoint| rate(point.answered + point.refused + point.lost);
    let most = curves.points.iter().map(all).fold(10.0, f64::max) * 1.05;
    let mut chart = axes(area, span, 0.0..most, |value| format!("{}/s", counted(*value)))?;
    let layers: [(Layer, RGBColor); 3] = [
        (|point| point.answered + point.refused + point.lost, LOST),
        (|point| point.answered + point.refused, REFUSED),
        (|point| point.answered, ANSWERED),
    ];
    for (index, (of, color)) in layers.into_iter().enumerate() {
        // A layer that is nowhere above the next one is not seen.
        let next = layers.get(index + 1);
        if next.is_some_and(|(next, _)| curves.points.iter().all(|point| of(point) == next(point))) {
            continue;
        }
        for run in curves
            .points
            .chunk_by(|one, next| next.time - one.time <= 2 * step)
        {
            let sides = |point: &CurvePoint| {
                [
                    (point.time, rate(of(point))),
                    (point.time + step, rate(of(point))),
                ]
            };
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let outline = run
                .iter()
                .flat_map(sides)
                .chain([(last.time + step, 0.0), (first.time, 0.0)]);
            chart.draw_series([Polygon::new(outline.collect::<Vec<_>>(), color.filled())])?;
        }
    }
    request_legend(area)
}

fn request_legend<B: DrawingBackend>(area: &Area<B>) -> Drawn<B> {
    let words = [("answered", ANSWERED), ("refused", REFUSED), ("lost", LOST)];
    for (index, (word, color)) in (0_i32..).zip(words) {
        let x = 74 + index * 84;
        area.draw(&Rectangle::new([(x, 2), (x + 12, 12)], color.filled()))?;
        area.draw(&Text::new(word, (x + 17, 0), ink(13.0, HPos::Left, VPos::Top)))?;
    }
    Ok(())
}

/// Draws axes for a time and a range of values.
fn axes<'a, B: DrawingBackend>(
    area: &Area<B>,
    (since, until): (Stamp, Stamp),
    values: Range<f64>,
    label: impl Fn(&f64) -> String,
) -> Result<ChartContext<'a, B, Axes>, DrawingAreaErrorKind<B::ErrorType>> {
    let times = since.seconds()..until.seconds().max(since.seconds() + 1);
    let (width, _) = area.dim_in_pixel();
    let ticks = ticks(&times, width / 80);
    let step = ticks
        .get(1)
        .zip(ticks.first())
        .map_or(60, |(next, first)| next - first);
    let mut chart = ChartBuilder::on(area)
        .margin_top(18)
        .margin_right(12)
        .x_label_area_size(22)
        .y_label_area_size(70)
        .build_cartesian_2d(times.with_key_points(ticks), values)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(INK.mix(0.0))
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK.mix(0.6))
        .y_labels(6)
        .x_label_formatter(&|time| time_label(*time, step))
        .y_label_formatter(&label)
        .label_style(ink(13.0, HPos::Center, VPos::Center))
        .draw()?;
    Ok(chart)
}

/// Returns the times that have a label: at most this many, each at a full minute, hour or day.
fn ticks(times: &Range<i64>, most: u32) -> Vec<i64> {
    const STEPS: [i64; 15] = [
        1, 10, 60, 300, 600, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
    ];
    let length = times.end - times.start;
    let most = i64::from(most.max(2));
    let step = STEPS
        .into_iter()
        .find(|step| length / step <= most)
        .unwrap_or(2_592_000);
    let first = times.start.div_euclid(step) * step + step;
    (0..=most)
        .map(|index| first + index * step)
        .filter(|tick| *tick < times.end)
        .collect()
}

fn time_label(time: i64, step: i64) -> String {
    let text = Stamp::from_seconds(time).to_string();
    let part = match step {
        86_400.. => text.get(5..10),
        60.. => text.get(11..16),
        _ => text.get(11..19),
    };
    part.unwrap_or_default().to_owned()
}

/// Returns a rate with its unit.
fn counted(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 1e3 => format!("{:.1}k", value / 1e3),
        value => format!("{value:.0}"),
    }
}

/// Returns the runs of points with a time that was told, without a pause in between.
fn runs(curves: &Curves) -> Vec<Vec<&CurvePoint>> {
    let step = i64::from(curves.step);
    let told: Vec<&CurvePoint> = curves
        .points
        .iter()
        .filter(|point| point.bound.is_some())
        .collect();
    told.chunk_by(|one, next| next.time - one.time <= 2 * step)
        .map(<[_]>::to_vec)
        .collect()
}

/// Returns the largest value of the chart of offsets.
fn largest(curves: &Curves) -> f64 {
    let mut bounds: Vec<f64> = curves
        .points
        .iter()
        .filter_map(|point| point.bound)
        .map(f64::from)
        .collect();
    let offsets = (0..curves.upstreams.len()).flat_map(|index| curves.offsets(index));
    let mut offsets: Vec<f64> = offsets.map(|(_, offset)| offset.abs()).collect();
    let (bound, offset) = (fitting(&mut bounds), fitting(&mut offsets));
    // An upstream that is far off stays at the edge: it must not make a line of the others.
    let most = if bound > 0.0 {
        bound.max(offset.min(4.0 * bound))
    } else {
        offset
    };
    if most > 0.0 { most * 1.15 } else { 1e-3 }
}

fn fitting(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get(part_of(last)).copied().unwrap_or(0.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a length that fits"
)]
fn part_of(last: usize) -> usize {
    ((last as f64) * FITTING).ceil() as usize
}

#[cfg(test)]
mod tests;
