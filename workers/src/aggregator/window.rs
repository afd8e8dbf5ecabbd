//! Windows: what is counted together. A pane is the part of time that one partial value covers; a tumbling window is
//! one pane.

use acequia_crds::pipeline::aggregation::{self, WindowKind};

use super::output::Span;
use crate::command::InvalidConfig;

/// How time is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// One after the other, all of the same length.
    Tumbling {
        /// The length, in milliseconds; at least 1.
        size_ms: i64,
    },
    /// One that never ends.
    Global,
}

impl Window {
    /// The window of an aggregation.
    ///
    /// # Errors
    /// It is of a kind that isn't available, has no length, or there isn't exactly one kind.
    pub fn new(window: &aggregation::Window) -> Result<Self, InvalidConfig> {
        let refused = |path: &str, problem: &str| InvalidConfig::Refused {
            path: path.to_owned(),
            problem: problem.to_owned(),
        };
        match window.kind() {
            Some(WindowKind::Global) => Ok(Self::Global),
            Some(WindowKind::Tumbling(size)) => match i64::try_from(size.as_ms()) {
                Ok(size_ms) if size_ms > 0 => Ok(Self::Tumbling { size_ms }),
                _ => Err(refused("window.tumbling", "is no length of a window; write, for example, `30s`")),
            },
            Some(WindowKind::Hopping(_)) => {
                Err(refused("window.hopping", "is not available in this version; use `tumbling`"))
            }
            Some(WindowKind::Session(_)) => {
                Err(refused("window.session", "is not available in this version; use `tumbling`"))
            }
            None => Err(refused("window", "needs exactly one of `tumbling` and `global`")),
        }
    }

    /// The start of the pane that a time falls in, in milliseconds since 1970; 0 for the global window.
    pub fn pane_start(self, event_ms: i64) -> i64 {
        match self {
            // Before 1970 as well, the start is the earlier end.
            Self::Tumbling { size_ms } => event_ms.saturating_sub(event_ms.rem_euclid(size_ms)),
            Self::Global => 0,
        }
    }

    /// The window of a pane; none: the global one.
    pub fn span(self, pane: i64) -> Option<Span> {
        match self {
            Self::Tumbling { size_ms } => Some(Span { start_ms: pane, end_ms: pane.saturating_add(size_ms) }),
            Self::Global => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pane_starts_at_a_multiple_of_the_size_before_1970_as_well() {
        let window = Window::Tumbling { size_ms: 30_000 };
        for (event_ms, start) in
            [(0, 0), (29_999, 0), (30_000, 30_000), (-1, -30_000), (-30_000, -30_000), (-30_001, -60_000)]
        {
            assert_eq!(window.pane_start(event_ms), start, "{event_ms}");
        }
        assert_eq!(window.span(-30_000), Some(Span { start_ms: -30_000, end_ms: 0 }));
    }

    #[test]
    fn the_global_window_is_one_pane_without_a_span() {
        assert_eq!(Window::Global.pane_start(1_763_805_600_000), 0);
        assert_eq!(Window::Global.span(0), None);
    }

    #[test]
    fn what_isnt_available_is_refused_by_its_field() {
        let window: aggregation::Window = serde_yaml::from_str("session: {gap: 1m}").unwrap();
        let message = Window::new(&window).unwrap_err().to_string();
        assert_eq!(message, "window.session is not available in this version; use `tumbling`");
        let window: aggregation::Window = serde_yaml::from_str("tumbling: 0s").unwrap();
        assert!(Window::new(&window).is_err());
        let window: aggregation::Window = serde_yaml::from_str("tumbling: 30s").unwrap();
        assert_eq!(Window::new(&window).unwrap(), Window::Tumbling { size_ms: 30_000 });
    }

    proptest! {
        #[test]
        fn every_time_lies_in_the_span_of_its_pane(
            event_ms in -1_000_000_000_000_000_i64..1_000_000_000_000_000,
            size_ms in 1_i64..100_000_000,
        ) {
            let window = Window::Tumbling { size_ms };
            let span = window.span(window.pane_start(event_ms)).unwrap();
            prop_assert!(span.start_ms <= event_ms && event_ms < span.end_ms);
            prop_assert_eq!(span.end_ms - span.start_ms, size_ms);
            prop_assert_eq!(span.start_ms.rem_euclid(size_ms), 0);
        }
    }
}
