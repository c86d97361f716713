//! The card of a version: what it is, what it was taught, how well it does, and what it is not for.

use super::judge::{INPUT, Judgement};
use super::report::{HeldOutSummary, Taught, Training};
use crate::compare::bootstrap::Estimate;
use crate::report::markdown::{Table, number, signed};

/// Everything that a card tells.
#[derive(Debug, Clone, PartialEq)]
pub struct CardFacts {
    /// The method.
    pub method: String,
    /// Name of the version.
    pub version: String,
    /// Preset of its recipe.
    pub preset: String,
    /// Size of its networks.
    pub size: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// Version of the program that made it.
    pub software_version: String,
    /// Night that made it.
    pub night: u32,
    /// SHA-256 of its weights, in hex.
    pub weights_sha256: String,
    /// Version whose weights its training began with; `None` where it began with random ones.
    pub parent: Option<String>,
    /// Seed of its training.
    pub seed: u64,
    /// What it was taught.
    pub taught: Taught,
    /// Its training.
    pub training: Training,
    /// What it is judged on; `None` where nothing is held out yet.
    pub held_out: Option<HeldOutSummary>,
    /// What was found there; `None` of a version that was not judged when the card was written.
    pub judgement: Option<Judgement>,
}

/// Returns the card of a version, in Markdown.
pub fn card(facts: &CardFacts) -> String {
    let parts = [what(facts), taught(facts), figures(facts), LIMITS.to_owned()];
    parts.map(|part| part.trim_end().to_owned() + "\n").join("\n")
}

/// What holds for every version, whatever it was taught.
const LIMITS: &str = "\
## What to know

- **Not a medical device, and not for diagnosis.** Research use only; nothing here may steer the treatment of a patient.
- The masks that it learnt from were degraded by our own thick-slice model (`models/src/degrade.rs`), and so were those
  that it was judged on. How well it does on masks drawn on real thick slices has not been measured here.
- It knows lumbar levels alone, L1 to L6. Of other vertebrae, and of any other bone, it makes something that looks lumbar.
- What it learnt from passed gates that turn away unusual masks: fractures, implants and operated spines are rarer there
  than in a clinic.
- What the slices never saw, such as the tips of transverse processes, is filled in from the prior: plausible, not
  observed.
- The masks come from the site that it was trained at; other scanners and other readers may be served worse.
- Weights that began with the shipped ones stay under their licence, CC BY-SA 4.0.
";

fn what(facts: &CardFacts) -> String {
    let began_with = match &facts.parent {
        Some(parent) => format!("the weights of `{parent}`"),
        None => "random weights".to_owned(),
    };
    let mut table = Table::new(2, ["", ""]);
    for (name, value) in [
        ("method", format!("`{}`", facts.method)),
        ("preset, size", format!("`{}`, `{}`", facts.preset, facts.size)),
        ("weights, SHA-256", format!("`{}`", facts.weights_sha256)),
        ("made by", format!("night {}, {}", facts.night, facts.created)),
        ("software", format!("spinestream {}", facts.software_version)),
        ("began with", began_with),
    ] {
        table.row([name.to_owned(), value]);
    }
    format!(
        "# Model card: `{}`, version `{}`\n\nRestores a lumbar vertebra's mask, drawn on thick-slice MRI, to the shape that \
         CT would show. Input and output: a binary patch of 128³ voxels of 1 mm, RAS, centred on the label's bounding \
         box.\n{}",
        facts.method,
        facts.version,
        table.finish()
    )
}

fn taught(facts: &CardFacts) -> String {
    let Taught {
        new,
        replayed,
        persons,
    } = facts.taught;
    let Training {
        cpu_seconds,
        seconds,
        threads,
        ..
    } = facts.training;
    let mut table = Table::new(1, ["phase", "steps", "minutes"]);
    for line in &facts.training.phases {
        table.row([line.phase.clone(), line.steps.to_string(), minutes(line.seconds)]);
    }
    format!(
        "## Training\n\n{} masks of {persons} persons: {new} new ones, and {replayed} known before that were shown beside \
         them, so that nothing learnt is lost. Seed {}; {threads} threads; {} CPU minutes, {} on the clock. Which masks \
         they were says `manifest.parquet` beside this card, without names or places; every setting says \
         `config.json`.\n{}",
        new + replayed,
        facts.seed,
        minutes(cpu_seconds),
        minutes(seconds),
        table.finish()
    )
}

fn figures(facts: &CardFacts) -> String {
    let set = match &facts.held_out {
        Some(set) => format!(
            "Held-out set {}: {} masks of {} persons, none of whom any version was taught; SHA-256 `{}`.\n",
            set.number, set.masks, set.persons, set.sha256
        ),
        None => "Nothing was held out.\n".to_owned(),
    };
    let Some(judgement) = &facts.judgement else {
        return format!("## Figures\n\n{set}\nNot judged when this card was written.\n");
    };
    let against = match judgement.against.as_str() {
        INPUT => "the degraded masks themselves, as there was no champion".to_owned(),
        version => format!("the champion `{version}`"),
    };
    let beside = match judgement.against.as_str() {
        INPUT => "input",
        _ => "champion",
    };
    let mut table = Table::new(1, ["mean DSC", "masks", beside, "this version", "difference"]);
    for line in &judgement.levels {
        let [champion, own] = [line.champion, line.challenger];
        let masks = line.masks.to_string();
        table.row(figure(&line.level, masks, [champion, own], own - champion, None));
    }
    let all = judgement.masks.to_string();
    table.row(figure(
        "all",
        all,
        judgement.dsc,
        judgement.difference,
        judgement.interval,
    ));
    let mut rules = Table::new(3, ["rule", "found", ""]);
    for rule in &judgement.rules {
        let result = if rule.passed { "fulfilled" } else { "not fulfilled" };
        rules.row([rule.rule.as_str(), rule.found.as_str(), result]);
    }
    format!(
        "## Figures\n\n{set}\nHeld against {against}, on {} masks of {} persons; in brackets the 95 % interval.\n{}\n{}",
        judgement.masks,
        judgement.persons,
        table.finish().trim_end(),
        rules.finish()
    )
}

/// Decimals of DSC: differences between versions are small.
const DECIMALS: usize = 4;

fn figure(
    level: &str,
    masks: String,
    [champion, own]: [f64; 2],
    difference: f64,
    interval: Option<[f64; 2]>,
) -> [String; 5] {
    let difference = Estimate {
        mean: difference,
        interval,
        count: 1,
    };
    [
        level.to_owned(),
        masks,
        number(Some(champion), DECIMALS),
        number(Some(own), DECIMALS),
        signed(Some(difference), DECIMALS),
    ]
}

fn minutes(seconds: f64) -> String {
    number(Some(seconds / 60.0), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nightly::report::sample;

    fn facts() -> CardFacts {
        let report = sample();
        CardFacts {
            method: report.method,
            version: "v20260304-4e5f6a7b".to_owned(),
            preset: "corrected".to_owned(),
            size: "compact".to_owned(),
            created: report.ended,
            software_version: report.software_version,
            night: report.night,
            weights_sha256: "3c".repeat(32),
            parent: report.champion,
            seed: 7_001,
            taught: report.taught,
            training: report.training.expect("trained"),
            held_out: report.held_out,
            judgement: report.judgement,
        }
    }

    #[test]
    fn the_card_holds_what_was_taught_and_found() {
        let card = card(&facts());
        for expected in [
            "# Model card: `lsd_ebm`, version `v20260304-4e5f6a7b`\n",
            "| preset, size | `corrected`, `compact` |\n",
            "| made by | night 3, 2026-03-04T04:12:30Z |\n",
            "| began with | the weights of `v20260301-0a1b2c3d` |\n",
            "170 masks of 41 persons: 34 new ones, and 136 known before",
            "Seed 7001; 8 threads; 182.0 CPU minutes, 92.7 on the clock.",
            "| autoencoder | 1900 | 80.0 |\n",
            "| energy | 501 | 12.7 |\n",
            "Held-out set 2: 57 masks of 12 persons",
            "Held against the champion `v20260301-0a1b2c3d`, on 57 masks of 12 persons",
            "| mean DSC | masks | champion | this version | difference |\n",
            "| L1 | 25 | 0.9055 | 0.9211 | +0.0156 |\n",
            "| L5 | 32 | 0.8943 | 0.8818 | -0.0125 |\n",
            "| all | 57 | 0.9012 | 0.9127 | +0.0115 [+0.0031, +0.0203] |\n",
            "| no level loses more than 0.010 | L5 loses 0.0125 | not fulfilled |\n",
            "not for diagnosis",
        ] {
            assert!(card.contains(expected), "{expected}\n{card}");
        }
        for hash in ["3c".repeat(32), "9f".repeat(32)] {
            assert!(card.contains(&hash), "{hash}\n{card}");
        }
        assert!(
            !card.contains("\n\n\n") && card.ends_with("CC BY-SA 4.0.\n"),
            "{card}"
        );
    }

    #[test]
    fn a_first_version_has_neither_parent_nor_champion() {
        let mut facts = facts();
        facts.parent = None;
        facts.judgement.as_mut().expect("judged").against = "input".to_owned();
        let text = card(&facts);
        assert!(text.contains("| began with | random weights |"));
        assert!(text.contains("Held against the degraded masks themselves"));
        assert!(text.contains("| mean DSC | masks | input | this version | difference |"));
        facts.judgement = None;
        facts.held_out = None;
        let text = card(&facts);
        assert!(text.contains("Nothing was held out.\n\nNot judged when this card was written.\n"));
    }
}
