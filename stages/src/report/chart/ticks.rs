//! Nice ticks along an axis.

/// Evenly spaced ticks at 1, 2 or 5 times a power of ten that hold all values between the first and the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ticks {
    /// First and last tick, in steps.
    first: f64,
    last: f64,
    /// The step is `nice` × 10^`exponent`.
    nice: f64,
    exponent: i32,
}

impl Ticks {
    /// Returns about `wanted` ticks over the values; from 0 to 1 where there is none.
    pub(crate) fn over(values: impl Iterator<Item = f64>, wanted: f64) -> Self {
        let (mut least, mut most) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
                (least.min(value), most.max(value))
            });
        if least > most {
            (least, most) = (0.0, 1.0);
        }
        let size = least.abs().max(most.abs()).max(1e-290);
        // one value, or several that no tick label could tell apart
        if most - least < 1e-9 * size {
            let around = if size > 1e-290 { 0.1 * size } else { 0.5 };
            (least, most) = (least - around, most + around);
        }
        let raw = (most - least) / wanted;
        let exponent = raw.log10().floor() as i32;
        let mantissa = raw / 10_f64.powi(exponent);
        let (nice, exponent) = match mantissa {
            m if m <= 1.0 => (1.0, exponent),
            m if m <= 2.0 => (2.0, exponent),
            m if m <= 5.0 => (5.0, exponent),
            _ => (1.0, exponent + 1),
        };
        let step = nice * 10_f64.powi(exponent);
        Self {
            // 0.6 / 0.2 is a little under 3
            first: (least / step + 1e-6).floor(),
            last: (most / step - 1e-6).ceil(),
            nice,
            exponent,
        }
    }

    /// Returns where a value lies between the first tick (0) and the last (1).
    pub(crate) fn share(&self, value: f64) -> f64 {
        let step = self.nice * 10_f64.powi(self.exponent);
        (value / step - self.first) / (self.last - self.first)
    }

    pub(crate) fn count(&self) -> usize {
        (self.last - self.first) as usize + 1
    }

    pub(crate) fn shares(&self) -> impl Iterator<Item = f64> {
        let steps = self.last - self.first;
        (0..self.count()).map(move |tick| tick as f64 / steps)
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        let Self {
            first,
            nice,
            exponent,
            ..
        } = *self;
        (0..self.count()).map(move |tick| {
            let steps = (first + tick as f64) * nice;
            // dividing by a whole power of ten rounds once: 3 / 10, not 3 × 0.1
            if exponent < 0 {
                steps / 10_f64.powi(-exponent)
            } else {
                steps * 10_f64.powi(exponent)
            }
        })
    }

    pub(crate) fn labels(&self) -> Vec<String> {
        let largest = self.values().fold(0.0, |most: f64, value| most.max(value.abs()));
        let plain = self.exponent >= -4 && largest < 1e6;
        let decimals = usize::try_from(-self.exponent).unwrap_or(0);
        let label = |value: f64| match plain {
            true => format!("{:.decimals$}", value + 0.0),
            false if value == 0.0 => "0".to_owned(),
            false => format!("{value:e}"),
        };
        self.values()
            .map(|value| label(value).replace('-', "−"))
            .collect()
    }
}
