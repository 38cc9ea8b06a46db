//! The DET plot: false-reject against false-accept rate, both axes stretched by the normal distribution, as SVG.

use std::fmt::Write as _;

/// One line of the plot: a name, whether it is the shipped form, and points (false accept, false reject).
pub(crate) struct Line<'a> {
    pub name: &'a str,
    pub shipped: bool,
    pub points: &'a [(f64, f64)],
}

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 490.0;
/// Rates at the ends of the axes.
const FALSE_ACCEPT: (f64, f64) = (1e-6, 0.05);
const FALSE_REJECT: (f64, f64) = (1e-3, 0.25);
const ACCEPT_TICKS: [f64; 6] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 5e-2];
const REJECT_TICKS: [f64; 8] = [1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2.5e-1];
const COLOURS: [&str; 8] = ["#0b6e4f", "#c44536", "#2f4b7c", "#b8860b", "#7b2d8b", "#008b9a", "#8c564b", "#6b6b6b"];

/// What the axes say.
pub(crate) struct Axes {
    pub across: &'static str,
    pub down: &'static str,
}

/// Of attacks on liveness.
#[allow(dead_code, reason = "each of the programs that plot has its own axes")]
pub(crate) const PRESENTATIONS: Axes =
    Axes { across: "APCER (attacks taken for living people)", down: "BPCER (living people refused)" };
/// Of comparisons of faces.
#[allow(dead_code, reason = "each of the programs that plot has its own axes")]
pub(crate) const COMPARISONS: Axes = Axes {
    across: "false accepts (impostor pairs taken for one person)",
    down: "false rejects (pairs of one person not recognised)",
};

/// The plot of some lines.
pub(crate) fn plot(lines: &[Line<'_>], axes: &Axes) -> String {
    let mut svg = String::new();
    let mut add = |text: String| writeln!(svg, "{text}").expect("a string takes any text");
    add(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">"
    ));
    add(format!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"));
    for rate in ACCEPT_TICKS {
        let x = across(rate);
        add(format!("<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#ddd\"/>"));
        add(format!("<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>", BOTTOM + 20.0, percent(rate)));
    }
    for rate in REJECT_TICKS {
        let y = down(rate);
        add(format!("<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ddd\"/>"));
        add(format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, y + 4.0, percent(rate)));
    }
    add(format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 48.0,
        axes.across
    ));
    let middle = f64::midpoint(TOP, BOTTOM);
    add(format!(
        "<text x=\"20\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 20 {middle:.1})\">{}</text>",
        axes.down
    ));
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let width = if line.shipped { 3.0 } else { 1.5 };
        add(format!(
            "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>",
            path(line.points)
        ));
        let y = TOP + 14.0 + 22.0 * index as f64;
        let x = RIGHT + 20.0;
        add(format!("<path d=\"M{x} {:.1}h26\" stroke=\"{colour}\" stroke-width=\"{width}\"/>", y - 4.0));
        let note = if line.shipped { " (shipped)" } else { "" };
        add(format!("<text x=\"{}\" y=\"{y:.1}\">{}{note}</text>", x + 34.0, line.name));
    }
    add(format!(
        "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#444\"/>",
        RIGHT - LEFT,
        BOTTOM - TOP
    ));
    add("</svg>".to_owned());
    svg
}

/// Points outside the axes are left out.
fn path(points: &[(f64, f64)]) -> String {
    let inside = |rate: f64, (low, high): (f64, f64)| (low..=high).contains(&rate);
    let mut path = String::new();
    for (accept, reject) in points.iter().filter(|p| inside(p.0, FALSE_ACCEPT) && inside(p.1, FALSE_REJECT)) {
        let step = if path.is_empty() { 'M' } else { 'L' };
        write!(path, "{step}{:.1} {:.1}", across(*accept), down(*reject)).expect("a string takes any text");
    }
    path
}

fn across(rate: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * share(rate, FALSE_ACCEPT)
}

fn down(rate: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * share(rate, FALSE_REJECT)
}

fn share(rate: f64, (low, high): (f64, f64)) -> f64 {
    (probit(rate) - probit(low)) / (probit(high) - probit(low))
}

fn percent(rate: f64) -> String {
    format!("{} %", (rate * 100.0 * 1e6).round() / 1e6)
}

/// Quantile of the normal distribution (Abramowitz and Stegun 26.2.23, error below 0.00045), for rates up to a half.
fn probit(rate: f64) -> f64 {
    let t = (-2.0 * rate.min(0.5).ln()).sqrt();
    let numerator = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let denominator = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    numerator / denominator - t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probit_is_the_normal_quantile() {
        for (rate, quantile) in [(0.025, -1.959_96), (0.001, -3.090_2), (1e-6, -4.753_4), (0.5, 0.0)] {
            assert!((probit(rate) - quantile).abs() < 1e-3, "{rate}: {}", probit(rate));
        }
    }
}
