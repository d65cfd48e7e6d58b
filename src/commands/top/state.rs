//! Pure. The view of `top`, and the effect of keys on it.

use crate::observe::screen::RowOrder;

/// A view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TopView {
    /// State, curves and both tables.
    #[default]
    Overview,
    /// All upstreams, with their details.
    Upstreams,
    /// All listeners, with their workers.
    Listeners,
    /// The census.
    Clients,
}

impl TopView {
    /// All of them, each at the place of its key.
    pub(super) const ALL: [Self; 4] = [Self::Overview, Self::Upstreams, Self::Listeners, Self::Clients];

    /// Returns its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Upstreams => "upstreams",
            Self::Listeners => "listeners",
            Self::Clients => "clients",
        }
    }
}

/// The time that the curves show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CurveSpan {
    /// Five minutes.
    #[default]
    Minutes,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// 30 days.
    Month,
}

impl CurveSpan {
    /// Returns its length in seconds.
    pub(super) const fn seconds(self) -> u32 {
        match self {
            Self::Minutes => 300,
            Self::Hour => 3600,
            Self::Day => 86_400,
            Self::Month => 2_592_000,
        }
    }

    /// Returns the seconds after which its curves are worth being asked for again: those of a long one are large.
    pub(super) const fn refresh(self) -> u32 {
        match self {
            Self::Minutes => 1,
            Self::Hour => 10,
            Self::Day | Self::Month => 60,
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Minutes => Self::Hour,
            Self::Hour => Self::Day,
            Self::Day => Self::Month,
            Self::Month => Self::Minutes,
        }
    }
}

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PressedKey {
    /// A letter, a digit or a space.
    Char(char),
    /// A line up.
    Up,
    /// A line down.
    Down,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// To the first line.
    Home,
    /// To the last line.
    End,
    /// Ctrl-C.
    Interrupt,
    /// Escape.
    Escape,
}

/// The effect of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// None that can be seen.
    Nothing,
    /// The screen is drawn again.
    Draw,
    /// The server is asked again at once.
    Ask,
    /// The end.
    Quit,
}

/// The state of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TopState {
    /// The view.
    pub(super) view: TopView,
    /// The order of rows.
    pub(super) order: RowOrder,
    /// The time of the curves.
    pub(super) span: CurveSpan,
    /// Whether the screen stays as it is.
    pub(super) paused: bool,
    /// Whether the help is shown instead of the view.
    pub(super) help: bool,
    /// Lines above the window.
    pub(super) scroll: usize,
    /// Lines in the window.
    page: usize,
}

impl TopState {
    /// Returns the word for the order of rows.
    pub(super) const fn order_name(&self) -> &'static str {
        match self.order {
            RowOrder::Configured => "configured",
            RowOrder::Worst => "worst first",
            RowOrder::Largest => "largest first",
        }
    }

    /// Keeps the window within this many lines; it has `page` of them.
    pub(super) fn fit(&mut self, lines: usize, page: usize) {
        self.page = page;
        self.scroll = self.scroll.min(lines.saturating_sub(page));
    }

    /// Applies a key.
    pub(super) fn press(&mut self, key: PressedKey) -> Effect {
        let page = self.page.saturating_sub(1).max(1);
        match key {
            PressedKey::Interrupt | PressedKey::Char('q' | 'Q') => return Effect::Quit,
            PressedKey::Escape if self.help => self.help = false,
            PressedKey::Escape => return Effect::Nothing,
            PressedKey::Char('h' | 'H' | '?') => (self.help, self.scroll) = (!self.help, 0),
            PressedKey::Char(digit @ '1'..='4') => {
                let place = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok());
                let view = place.and_then(|place| TopView::ALL.get(place.saturating_sub(1)));
                self.view = view.copied().unwrap_or_default();
                (self.help, self.scroll) = (false, 0);
                return Effect::Ask;
            }
            PressedKey::Char('s' | 'S') => {
                self.order = match self.order {
                    RowOrder::Configured => RowOrder::Worst,
                    RowOrder::Worst => RowOrder::Largest,
                    RowOrder::Largest => RowOrder::Configured,
                };
                return Effect::Ask;
            }
            PressedKey::Char('t' | 'T') => {
                self.span = self.span.next();
                return Effect::Ask;
            }
            PressedKey::Char(' ') => {
                self.paused = !self.paused;
                return if self.paused { Effect::Draw } else { Effect::Ask };
            }
            PressedKey::Up | PressedKey::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            PressedKey::Down | PressedKey::Char('j') => self.scroll = self.scroll.saturating_add(1),
            PressedKey::PageUp => self.scroll = self.scroll.saturating_sub(page),
            PressedKey::PageDown => self.scroll = self.scroll.saturating_add(page),
            PressedKey::Home => self.scroll = 0,
            PressedKey::End => self.scroll = usize::MAX,
            PressedKey::Char(_) => return Effect::Nothing,
        }
        Effect::Draw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_effect() {
        let mut state = TopState::default();
        state.fit(100, 10);
        for (key, effect, scroll) in [
            (PressedKey::Down, Effect::Draw, 1),
            (PressedKey::PageDown, Effect::Draw, 10),
            (PressedKey::Up, Effect::Draw, 9),
            (PressedKey::Char('j'), Effect::Draw, 10),
            (PressedKey::PageUp, Effect::Draw, 1),
            (PressedKey::PageUp, Effect::Draw, 0),
            (PressedKey::End, Effect::Draw, usize::MAX),
            (PressedKey::Home, Effect::Draw, 0),
            (PressedKey::Char('x'), Effect::Nothing, 0),
            (PressedKey::Escape, Effect::Nothing, 0),
            (PressedKey::Char('q'), Effect::Quit, 0),
            (PressedKey::Interrupt, Effect::Quit, 0),
        ] {
            assert_eq!(state.press(key), effect, "{key:?}");
            assert_eq!(state.scroll, scroll, "{key:?}");
        }
        state.press(PressedKey::End);
        state.fit(100, 10);
        assert_eq!(state.scroll, 90);
        state.fit(5, 10);
        assert_eq!(state.scroll, 0);
    }

    #[test]
    fn views_orders_pause_and_help() {
        let mut state = TopState::default();
        for (key, view) in ['2', '3', '4', '1'].into_iter().zip([
            TopView::Upstreams,
            TopView::Listeners,
            TopView::Clients,
            TopView::Overview,
        ]) {
            state.scroll = 7;
            assert_eq!(state.press(PressedKey::Char(key)), Effect::Ask);
            assert_eq!((state.view, state.scroll), (view, 0));
        }
        let orders: Vec<_> = (0..3)
            .map(|_| {
                assert_eq!(state.press(PressedKey::Char('s')), Effect::Ask);
                state.order_name()
            })
            .collect();
        assert_eq!(orders, ["worst first", "largest first", "configured"]);
        let spans: Vec<_> = (0..4)
            .map(|_| {
                assert_eq!(state.press(PressedKey::Char('t')), Effect::Ask);
                state.span.seconds()
            })
            .collect();
        assert_eq!(spans, [3600, 86_400, 2_592_000, 300]);
        assert_eq!(state.press(PressedKey::Char(' ')), Effect::Draw);
        assert!(state.paused);
        assert_eq!(state.press(PressedKey::Char(' ')), Effect::Ask);
        assert_eq!(
            (state.press(PressedKey::Char('h')), state.help),
            (Effect::Draw, true)
        );
        assert_eq!(
            (state.press(PressedKey::Escape), state.help),
            (Effect::Draw, false)
        );
    }
}
