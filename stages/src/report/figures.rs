//! The report's figures: which curves and pictures, under which names.

use std::collections::BTreeMap;

use schemas::ModelIdentity;

use super::chart::{Series, lines};
use super::picture::{Column, panel};
use crate::compare::summary::{Side, metric, spread};
use crate::compare::{Comparison, FigureConf, Method};

/// Part of the report that a figure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Metrics over steps.
    Steps,
    /// Latent variance along the chain.
    Trace,
    /// Reliability of the samples' agreement.
    Reliability,
    /// Masks.
    Pictures,
}

/// One figure.
#[derive(Debug)]
pub struct Figure {
    /// Where it goes.
    pub place: Place,
    /// File beside the report.
    pub file: String,
    /// What it shows.
    pub title: String,
    /// Itself.
    pub svg: String,
}

/// Metrics drawn over steps: the paper's that tell methods apart, and the distances.
const OVER_STEPS: [(&str, &str); 6] = [
    ("dsc", "mean DSC"),
    ("vs", "mean VS"),
    ("nmi", "mean NMI"),
    ("ck", "mean CK"),
    ("hd95_mm", "mean HD95, mm"),
    ("assd_mm", "mean ASSD, mm"),
];

/// Returns every figure there is something for.
pub fn all(comparison: &Comparison) -> Vec<Figure> {
    let mut figures = over_steps(comparison);
    figures.extend(traces(comparison));
    figures.extend(reliability(comparison));
    figures.extend(pictures(comparison));
    figures
}

fn over_steps(comparison: &Comparison) -> Vec<Figure> {
    let shown: Vec<&Method> = comparison
        .methods
        .iter()
        .filter(|method| method.conf.figure == FigureConf::Steps)
        .collect();
    if shown.is_empty() {
        return Vec::new();
    }
    OVER_STEPS
        .into_iter()
        .map(|(name, label)| {
            let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
            for method in &shown {
                let values = comparison.values(Side::Method(method), metric(name));
                let values: Vec<f64> = values.into_iter().flatten().collect();
                if let Some(spread) = spread(&values) {
                    let points = series.entry(line_of(&method.identity)).or_default();
                    points.push((f64::from(method.identity.steps), spread.mean));
                }
            }
            let series: Vec<Series> = series.into_iter().map(sorted).collect();
            let title = format!("{label}, over diffusion steps");
            Figure {
                place: Place::Steps,
                file: format!("steps-{}.svg", name.trim_end_matches("_mm")),
                svg: lines(&title, "steps", label, &series),
                title,
            }
        })
        .collect()
}

/// Returns what is the same for methods that differ in their steps alone.
fn line_of(identity: &ModelIdentity) -> String {
    let mut name = identity.chain.join(" + ");
    if let Some(sampler) = identity.sampler.filter(|sampler| *sampler != "trained") {
        name.push_str(&format!(", {sampler}"));
    }
    if identity.samples > 1 {
        name.push_str(&format!(", vote of {}", identity.samples));
    }
    if identity.mirror {
        name.push_str(", mirror");
    }
    if let Some(precision) = identity.precision.filter(|precision| *precision != "f32") {
        name.push_str(&format!(", {precision}"));
    }
    name
}

fn sorted((name, mut points): (String, Vec<(f64, f64)>)) -> Series {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Series { name, points }
}

fn traces(comparison: &Comparison) -> Vec<Figure> {
    let traced = comparison.methods.iter().enumerate();
    traced
        .filter(|(_, method)| !method.traces.is_empty())
        .map(|(index, method)| {
            let title = format!("{}: variance of the latent along the chain", method.conf.name);
            let series: Vec<Series> = method
                .traces
                .iter()
                .enumerate()
                .flat_map(|(repeat, trace)| trace_lines(repeat + 1, trace))
                .collect();
            Figure {
                place: Place::Trace,
                file: format!("trace-{}.svg", index + 1),
                svg: lines(&title, "position along the chain", "variance", &series),
                title,
            }
        })
        .collect()
}

/// One line a leg; a leg starts where the one before it has ended, so that the chart reads as the latent walks.
fn trace_lines(repeat: usize, trace: &[models::TracePoint]) -> Vec<Series> {
    let legs = trace.chunk_by(|one, next| one.leg == next.leg);
    let mut start = 0;
    legs.map(|leg| {
        let points = leg
            .iter()
            .filter(|point| point.variance.is_finite())
            .map(|point| ((start + point.position) as f64, point.variance))
            .collect();
        start += leg.iter().map(|point| point.position).max().unwrap_or(0);
        let name = leg.first().map_or("", |point| point.leg);
        Series {
            // repeats of one thing, as the chart counts them
            name: format!("{name} #{repeat}"),
            points,
        }
    })
    .collect()
}

fn reliability(comparison: &Comparison) -> Option<Figure> {
    let mut series: Vec<Series> = comparison
        .methods
        .iter()
        .filter_map(|method| {
            let points = method.reliability.as_ref()?.curve();
            Some(Series {
                name: method.conf.name.clone(),
                points,
            })
        })
        .collect();
    if series.is_empty() {
        return None;
    }
    series.push(Series {
        name: "as it should be".to_owned(),
        points: vec![(0.0, 0.0), (1.0, 1.0)],
    });
    let title = "share of the reference over share of the samples".to_owned();
    Some(Figure {
        place: Place::Reliability,
        file: "reliability.svg".to_owned(),
        svg: lines(
            &title,
            "share of samples that claim a voxel",
            "share in the reference",
            &series,
        ),
        title,
    })
}

fn pictures(comparison: &Comparison) -> Vec<Figure> {
    let shown = shown(comparison.subjects.len(), comparison.conf.pictures);
    let dsc = metric("dsc");
    shown
        .into_iter()
        .enumerate()
        .filter_map(|(place, index)| {
            let subject = comparison.subjects.get(index)?;
            let titled = |side: Side<'_>| {
                let value = comparison.scores(side, index)?[dsc];
                Some(match value {
                    Some(value) => format!("{}, DSC {value:.3}", side.name()),
                    None => side.name().to_owned(),
                })
            };
            let mut columns = vec![Column {
                title: titled(Side::Input)?,
                mask: subject.input.mask.view(),
            }];
            for method in &comparison.methods {
                let made = method.shown.get(place).and_then(Option::as_ref);
                if let (Some(mask), Some(title)) = (made, titled(Side::Method(method))) {
                    columns.push(Column {
                        title,
                        mask: mask.view(),
                    });
                }
            }
            let title = subject.name();
            Some(Figure {
                place: Place::Pictures,
                file: format!("picture-{}.svg", title.replace(' ', "-")),
                svg: panel(&title, &columns, Some(subject.reference.mask.view())),
                title,
            })
        })
        .collect()
}

/// Returns which of `count` subjects are shown in `pictures` pictures, spread evenly.
pub fn shown(count: usize, pictures: usize) -> Vec<usize> {
    let pictures = pictures.min(count);
    (0..pictures).map(|place| place * count / pictures).collect()
}

#[cfg(test)]
mod tests {
    use models::TracePoint;

    use super::*;

    #[test]
    fn pictures_are_spread_over_all_vertebrae() {
        assert_eq!(shown(8, 4), [0, 2, 4, 6]);
        assert_eq!(shown(3, 5), [0, 1, 2]);
        assert_eq!(shown(0, 4), [] as [usize; 0]);
    }

    #[test]
    fn legs_follow_one_another() {
        let point = |leg: &'static str, position: usize, variance: f64| TracePoint {
            leg,
            position,
            variance,
        };
        let trace = [
            point("forward", 0, 1.0),
            point("forward", 2, 3.0),
            point("reverse", 0, 3.0),
            point("reverse", 1, f64::NAN),
            point("reverse", 2, 5.0),
        ];
        let lines = trace_lines(1, &trace);
        assert_eq!(lines[0].points, [(0.0, 1.0), (2.0, 3.0)]);
        assert_eq!(lines[1].name, "reverse #1");
        assert_eq!(
            lines[1].points,
            [(2.0, 3.0), (4.0, 5.0)],
            "what is not finite is not drawn"
        );
    }
}
