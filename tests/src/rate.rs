//! Rates with their intervals.

/// A rate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// What was found, 0 to 1.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

impl Rate {
    /// In percent with two digits, the interval in brackets.
    pub fn percent(self) -> String {
        format!("{:.2} % ({:.2} to {:.2})", self.value * 100.0, self.low * 100.0, self.high * 100.0)
    }
}

/// Wilson's 95 % interval of a share.
pub fn wilson(part: usize, whole: usize) -> Rate {
    let n = whole.max(1) as f64;
    let (p, z) = (part as f64 / n, 1.959_964);
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Rate { value: p, low: (middle - half).max(0.0), high: (middle + half).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_gives_the_textbook_interval() {
        let rate = wilson(95, 100);
        assert!((rate.low - 0.8882).abs() < 1e-3 && (rate.high - 0.9785).abs() < 1e-3, "{rate:?}");
    }
}
