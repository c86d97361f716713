use std::sync::LazyLock;

use models::phantom::{PhantomConf, spine};
use schemas::LabelMap;

use super::*;
use crate::nightly::testing::{
    COUNT, PERSONS, accepted, asking, eroded, middle_mm, moved, of_map, of_masks, phantom,
};

/// A made-up person's spine, L1 to L5.
static SPINE: LazyLock<LabelMap> = LazyLock::new(|| spine(1, &PhantomConf::default()).expect("a spine"));

fn alone(case: GatedCase) -> Vec<Vec<Reason>> {
    let mut reasons = gate(&[case], &Known::default(), &GateConf::default());
    reasons.pop().expect("one case")
}

/// A case of masks as they are in the middle of a lumbar spine, each changed as asked.
fn usual(change: impl Fn(Level, &mut Measured)) -> GatedCase {
    let levels = &Level::ALL[..5];
    let vertebrae = levels.iter().map(|level| {
        let mut mask = Measured {
            volume_mm3: 60e3,
            extent_mm: [95.0, 90.0, 50.0],
            largest_piece: 1.0,
            cavities: 0.0,
            centre_mm: middle_mm(*level),
            touches_border: false,
            touches_cube: false,
            shape: vec![0; 512],
        };
        change(*level, &mut mask);
        (*level, mask)
    });
    asking("case", "person", vertebrae.collect())
}

#[test]
fn a_whole_spine_passes_every_gate_and_one_with_swapped_labels_loses_both_of_them() {
    let sound = of_map(SPINE.clone());
    assert_eq!(sound.len(), 5);
    assert_eq!(alone(asking("a", "p", sound)), vec![Vec::new(); 5]);

    let mut swapped = SPINE.clone();
    swapped.data.map_inplace(|label| {
        *label = match *label {
            21 => 22,
            22 => 21,
            other => other,
        };
    });
    let swapped = alone(asking("a", "p", of_map(swapped)));
    let order = vec![Reason::LevelOrder];
    assert_eq!(swapped, [vec![], order.clone(), order, vec![], vec![]]);

    let mut upside_down = SPINE.clone();
    for entry in &mut upside_down.affine.0[2] {
        *entry = -*entry;
    }
    let upside_down = alone(asking("a", "p", of_map(upside_down)));
    assert_eq!(upside_down, vec![vec![Reason::LevelOrder]; 5]);
}

#[test]
fn a_level_that_is_missing_is_none_that_is_wrong() {
    let mut gap = of_map(SPINE.clone());
    gap.remove(2);
    assert_eq!(alone(asking("a", "p", gap.clone())), vec![Vec::new(); 4]);
    // and the order in which they are given does not count
    gap.reverse();
    assert_eq!(alone(asking("a", "p", gap)), vec![Vec::new(); 4]);
}

/// What is done to a mask.
type Change = fn(&mut Measured);

#[test]
fn each_fault_of_one_mask_is_named_and_is_that_masks_alone() {
    assert_eq!(alone(usual(|_, _| {})), vec![Vec::new(); 5]);
    let faults: [(&[Reason], Change); 7] = [
        (&[Reason::Empty], |mask| mask.extent_mm = [0.0; 3]),
        (&[Reason::InPieces], |mask| mask.largest_piece = 0.9),
        (&[Reason::Cavities], |mask| mask.cavities = 0.05),
        (&[Reason::TouchesBorder], |mask| mask.touches_border = true),
        (&[Reason::TouchesCube], |mask| mask.touches_cube = true),
        (&[Reason::VolumeImplausible], |mask| mask.volume_mm3 = f64::NAN),
        (&[Reason::InPieces, Reason::TouchesCube], |mask| {
            (mask.largest_piece, mask.touches_cube) = (0.5, true);
        }),
    ];
    for (expected, fault) in faults {
        let found = alone(usual(|level, mask| {
            if level == Level::L3 {
                fault(mask);
            }
        }));
        for (level, found) in Level::ALL.into_iter().zip(&found) {
            let expected = if level == Level::L3 { expected } else { &[] };
            assert_eq!(found, expected, "{level}");
        }
    }
    let conf = GateConf {
        allow_border: true,
        allow_cube: true,
        ..GateConf::default()
    };
    let touching = usual(|_, mask| (mask.touches_border, mask.touches_cube) = (true, true));
    assert_eq!(gate(&[touching], &Known::default(), &conf), [vec![Vec::new(); 5]]);
}

#[test]
fn neighbours_at_no_plausible_distance_or_of_other_size_are_both_turned_away() {
    // as if one had been left out below L3, and the next was named L4
    let far = alone(usual(|level, mask| {
        if level >= Level::L4 {
            mask.centre_mm[2] -= 35.0;
        }
    }));
    let spacing = vec![Reason::LevelSpacing];
    assert_eq!(far, [vec![], vec![], spacing.clone(), spacing, vec![]]);

    let ratio = vec![Reason::VolumeAgainstNeighbours];
    let leaked = alone(usual(|level, mask| match level {
        Level::L1 => mask.volume_mm3 = 40e3,
        Level::L2 => mask.volume_mm3 = 75e3,
        _ => {}
    }));
    assert_eq!(leaked, [ratio.clone(), ratio, vec![], vec![], vec![]]);

    let mut tiny = usual(|level, mask| {
        if level == Level::L5 {
            mask.volume_mm3 = 11e3;
        }
    });
    tiny.vertebrae.remove(3);
    // no neighbour of the next level to hold it against
    let implausible = vec![Reason::VolumeImplausible];
    assert_eq!(alone(tiny), [vec![], vec![], vec![], implausible]);
}

#[test]
fn worn_down_masks_are_unlike_the_known_ones_and_sound_ones_are_not() {
    const TEACHERS: usize = 40;
    let rows = PERSONS[..TEACHERS]
        .iter()
        .enumerate()
        .flat_map(|(person, masks)| accepted("known", &format!("p{person}"), masks));
    let rows: Vec<_> = rows.collect();
    let known = Known::of(&rows);
    let conf = GateConf::default();
    for seed in TEACHERS as u64..COUNT {
        let masks = &PERSONS[seed as usize];
        let sound = asking("new", "new", masks.clone());
        assert_eq!(
            gate(&[sound], &known, &conf),
            [vec![Vec::new(); 2]],
            "seed {seed}"
        );

        let worn = [Level::L2, Level::L3].map(|level| (level, eroded(&phantom(level, seed), 2.0)));
        let worn = of_masks(&worn);
        for (level, mask) in &worn {
            let away = known.usual(*level).expect("forty masks").deviations(mask);
            println!(
                "seed {seed} {level}: {:.1} cm³, {away:.1} deviations",
                mask.volume_mm3 / 1e3
            );
        }
        let worn = asking("new", "new", worn);
        let unlike = |conf: &GateConf| {
            let found = gate(std::slice::from_ref(&worn), &known, conf).concat();
            let is_unlike = found.iter().map(|reasons| reasons.contains(&Reason::UnlikeKnown));
            is_unlike.collect::<Vec<bool>>()
        };
        assert_eq!(unlike(&conf), [true, true], "seed {seed}");
        // of too few, itself among them, nobody can say what is usual
        let few = GateConf {
            least_known: TEACHERS + 2,
            ..conf.clone()
        };
        assert_eq!(unlike(&few), [false, false], "seed {seed}");
    }
}

/// Persons as alike as none are, whose masks have that share of the usual volume.
fn crowd(persons: std::ops::Range<usize>, share: f64) -> Vec<GatedCase> {
    let case = |person: usize| GatedCase {
        case_id: format!("c{person}"),
        person: format!("p{person}"),
        ..usual(|_, mask| mask.volume_mm3 *= share)
    };
    persons.map(case).collect()
}

#[test]
fn where_little_is_known_the_sound_masks_of_the_night_itself_say_what_is_usual() {
    let unlike = |cases: &[GatedCase], known: &Known| {
        let reasons = gate(cases, known, &GateConf::default()).concat();
        let unlike = reasons
            .iter()
            .filter(|reasons| reasons.contains(&Reason::UnlikeKnown));
        unlike.count()
    };
    let known = |persons: usize| {
        let rows = crowd(0..persons, 1.0).into_iter();
        let rows = rows.flat_map(|case| accepted(&case.case_id, &case.person, &case.vertebrae));
        Known::of(&rows.collect::<Vec<_>>())
    };
    // a fifth less is four of the least deviations; twenty masks say what is usual
    let night = |sound: std::ops::Range<usize>| [crowd(sound, 1.0), crowd(100..101, 0.8)].concat();
    assert_eq!(unlike(&night(0..18), &Known::default()), 0, "nineteen");
    assert_eq!(
        unlike(&night(0..19), &Known::default()),
        5,
        "twenty, and one person is unlike them"
    );
    let mut faulty = night(0..19);
    for (_, mask) in &mut faulty[0].vertebrae {
        mask.touches_cube = true;
    }
    assert_eq!(unlike(&faulty, &Known::default()), 0, "faulty ones do not count");
    assert_eq!(unlike(&night(10..18), &known(10)), 0, "nineteen together");
    assert_eq!(unlike(&night(10..19), &known(10)), 5, "twenty together");
    // enough are known: a night of many worn ones makes them no more usual
    assert_eq!(unlike(&crowd(100..130, 0.8), &known(20)), 5 * 30);
}

/// L2 and L3 of a person, each moved in its cube.
fn shifted(seed: u64, by: [isize; 3]) -> Vec<(Level, Measured)> {
    of_masks(&[Level::L2, Level::L3].map(|level| (level, moved(&phantom(level, seed), by))))
}

#[test]
fn a_known_person_under_another_name_is_turned_away_and_others_are_not() {
    let conf = GateConf::default();
    let rows: Vec<_> = (0..10)
        .flat_map(|seed: usize| accepted("known", &format!("p{seed}"), &PERSONS[seed]))
        .collect();
    let known = Known::of(&rows);
    let twin = vec![vec![Reason::NearDuplicate]; 2];
    let cases = [
        asking("a", "somebody", shifted(3, [1, 1, -1])),
        asking("b", "somebody else", PERSONS[12].clone()),
        asking("c", "p3", shifted(3, [1, 0, 0])),
        asking("d", "one level", vec![shifted(4, [0, 1, 0])[1].clone()]),
        asking("e", "one level of another", vec![PERSONS[13][1].clone()]),
    ];
    let found = gate(&cases, &known, &conf);
    let expected = [
        twin,
        vec![Vec::new(); 2],
        vec![Vec::new(); 2],
        vec![vec![Reason::NearDuplicate]],
        vec![Vec::new()],
    ];
    assert_eq!(found, expected);
    let off = GateConf {
        duplicate_distance: 0.0,
        ..conf
    };
    assert!(gate(&cases, &known, &off).concat().concat().is_empty());
}

#[test]
fn of_two_in_one_night_the_earlier_case_stays_in_whatever_order_they_come() {
    let conf = GateConf::default();
    let first = asking("A7", "one", shifted(5, [0, 0, 0]));
    let second = asking("b2", "two", shifted(5, [0, 0, 1]));
    let (fine, twin) = (vec![Vec::new(); 2], vec![vec![Reason::NearDuplicate]; 2]);
    let known = Known::default();
    let both = [second.clone(), first.clone()];
    assert_eq!(gate(&both, &known, &conf), [twin.clone(), fine.clone()]);
    let both = [first.clone(), second.clone()];
    assert_eq!(gate(&both, &known, &conf), [fine.clone(), twin]);

    // whoever was turned away for something else holds nobody up
    let mut faulty = first;
    for (_, mask) in &mut faulty.vertebrae {
        mask.touches_cube = true;
    }
    let touching = vec![vec![Reason::TouchesCube]; 2];
    assert_eq!(gate(&[faulty, second], &known, &conf), [touching, fine]);
}

#[test]
fn persons_are_farther_apart_than_one_person_on_two_grids() {
    let finer = PhantomConf {
        spacing_mm: [0.7, 0.7, 1.5],
        oblique_deg: [0.0, 0.0, 6.0],
        ..PhantomConf::default()
    };
    let again = of_map(spine(1, &finer).expect("a spine"));
    let other = of_map(spine(2, &PhantomConf::default()).expect("a spine"));
    let once = of_map(SPINE.clone());
    let apart = |one: &[(Level, Measured)], other: &[(Level, Measured)]| -> Vec<f64> {
        let pairs = one.iter().zip(other);
        pairs
            .map(|((_, one), (_, other))| crate::nightly::known::distance(&one.shape, &other.shape))
            .collect()
    };
    let (same, different) = (apart(&once, &again), apart(&once, &other));
    println!("one person on two grids {same:.4?}, two persons {different:.4?}");
    let farthest = same.iter().copied().fold(0.0, f64::max);
    let nearest = different.iter().copied().fold(1.0, f64::min);
    assert!(farthest < nearest, "{same:?} {different:?}");
    let limit = GateConf::default().duplicate_distance;
    assert!(farthest < limit && limit < nearest, "{same:?} {different:?}");
}
