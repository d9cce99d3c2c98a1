//! Bars for shares, lines for values over time, and shades for the cells of a heat map.

use nu_ansi_term::Color;

/// Parts of a column, from one eighth on.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
/// Heights of a line, from one eighth on.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Shades without colours, from few to many.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];
/// Colours of a 256-colour terminal from few to many: dark blue to yellow.
const RAMP: [u8; 10] = [18, 19, 25, 31, 37, 36, 71, 107, 178, 226];
/// The same for cells of errors: dark to light red.
const RED_RAMP: [u8; 6] = [52, 88, 124, 160, 196, 203];

/// A bar of `share` (0 to 1) of `columns` columns, filled with spaces.
pub(in crate::cli) fn bar(share: f64, columns: usize) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    // What is not nothing is seen.
    let eighths = (share * columns as f64 * 8.0).round().max(if share > 0.0 { 1.0 } else { 0.0 }) as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8 - 1]);
    }
    let taken = eighths.div_ceil(8);
    bar + &" ".repeat(columns.saturating_sub(taken))
}

/// A line of values, one column each; null is a gap.
pub(in crate::cli) fn sparkline(values: &[Option<f64>]) -> String {
    let most = values.iter().flatten().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let column = |value: &Option<f64>| match value {
        Some(value) if *value > 0.0 && most > 0.0 => {
            let height = (value / most * HEIGHTS.len() as f64).ceil() as usize;
            HEIGHTS[height.clamp(1, HEIGHTS.len()) - 1]
        }
        Some(_) => '_',
        None => ' ',
    };
    values.iter().map(column).collect()
}

/// Columns of a span of time on a scale of `columns` columns: the first, and the one after the last; at least one.
/// `from` and `to` are shares of the scale.
pub(in crate::cli) fn columns_of(from: f64, to: f64, columns: usize) -> (usize, usize) {
    let most = columns.saturating_sub(1);
    let at = |share: f64| if share.is_finite() { share.clamp(0.0, 1.0) * columns as f64 } else { 0.0 };
    let first = (at(from).floor() as usize).min(most);
    let end = (at(to).ceil() as usize).clamp(first + 1, columns.max(first + 1));
    (first, end)
}

/// Sign of a cell with `weight` (above 0, to 1) without colours.
pub(in crate::cli) fn shade(weight: f64) -> char {
    SHADES[step(weight, SHADES.len())]
}

/// Colour of a cell with `weight` (above 0, to 1).
pub(in crate::cli) fn colour(weight: f64, is_error: bool) -> Color {
    let ramp: &[u8] = if is_error { &RED_RAMP } else { &RAMP };
    Color::Fixed(ramp[step(weight, ramp.len())])
}

fn step(weight: f64, steps: usize) -> usize {
    ((weight.clamp(0.0, 1.0) * steps as f64).ceil() as usize).clamp(1, steps) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_eighths_of_columns() {
        assert_eq!(bar(0.0, 4), "    ");
        assert_eq!(bar(0.5, 4), "██  ");
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(0.001, 4), "▏   ");
        assert_eq!(bar(0.55, 2), "█▏");
        assert_eq!(bar(f64::NAN, 2), "  ");
    }

    #[test]
    fn a_span_takes_at_least_one_column() {
        assert_eq!(columns_of(0.0, 1.0, 10), (0, 10));
        assert_eq!(columns_of(0.5, 0.5, 10), (5, 6));
        assert_eq!(columns_of(1.0, 1.0, 10), (9, 10));
        assert_eq!(columns_of(2.0, -1.0, 10), (9, 10));
        assert_eq!(columns_of(f64::NAN, f64::NAN, 10), (0, 1));
    }

    #[test]
    fn lines_and_shades_grow_with_the_value() {
        assert_eq!(sparkline(&[Some(0.0), None, Some(1.0), Some(8.0)]), "_ ▁█");
        assert_eq!((shade(0.01), shade(1.0)), ('·', '█'));
        assert_eq!(colour(1.0, true), Color::Fixed(203));
    }
}
