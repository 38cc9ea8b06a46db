//! Similarities to rates, with intervals.
//!
//! Rates over all cross pairs are computed from the place of each genuine similarity among the impostors': the share of
//! impostors that are at least as similar. Intervals of these rates come from drawing people anew, because pairs of one
//! person are not independent; the impostors, about two million, are taken as they are.

use didar_tests::rate::{Rate, wilson};

/// False-accept rates at which the true-accept rate is told.
pub(crate) const FAR: [f64; 3] = [1e-2, 1e-3, 1e-4];
/// Draws for an interval.
const DRAWS: usize = 1000;

/// Everything that is told about one form.
pub(crate) struct Rates {
    /// On the pairs of the protocol, each fold judged with the best threshold of the others.
    pub accuracy: Rate,
    pub auc: Rate,
    pub eer: Rate,
    /// At each of [`FAR`].
    pub tar: [Rate; 3],
    /// Similarity from which on these rates accept.
    pub threshold: [f32; 3],
    pub pairs: usize,
    pub genuine: usize,
    pub impostor: usize,
    /// False-accept and false-reject rate along the thresholds.
    pub curve: Vec<(f64, f64)>,
}

/// `pairs`: similarity, same person, fold. `genuine`: person and similarity.
pub(crate) fn rates(pairs: &[(f32, bool, u32)], genuine: &[(usize, f32)], mut impostor: Vec<f32>) -> Rates {
    impostor.sort_by(f32::total_cmp);
    let count = impostor.len().max(1) as f64;
    let places: Vec<(usize, f64)> = genuine
        .iter()
        .map(|(person, s)| (*person, (impostor.len() - impostor.partition_point(|i| i < s)) as f64 / count))
        .collect();
    let by_person = grouped(&places);
    let whole: Vec<f64> = sorted(places.iter().map(|p| p.1).collect());
    let drawn = draws(&by_person);
    let rate = |of: &dyn Fn(&[f64]) -> f64| {
        let values = sorted(drawn.iter().map(|d| of(d)).collect());
        Rate { value: of(&whole), low: values[DRAWS / 40], high: values[DRAWS - 1 - DRAWS / 40] }
    };
    Rates {
        accuracy: accuracy(pairs),
        auc: rate(&|p| 1.0 - p.iter().sum::<f64>() / p.len() as f64),
        eer: rate(&|p| equal_error(p)),
        tar: FAR.map(|far| rate(&|p| p.partition_point(|v| *v <= far) as f64 / p.len() as f64)),
        threshold: FAR.map(|far| {
            let accepted = (far * count).floor() as usize;
            impostor[impostor.len() - 1 - accepted.min(impostor.len() - 1)]
        }),
        pairs: pairs.len(),
        genuine: genuine.len(),
        impostor: impostor.len(),
        curve: curve(&whole, impostor.len()),
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn grouped(places: &[(usize, f64)]) -> Vec<Vec<f64>> {
    let people = places.iter().map(|p| p.0 + 1).max().unwrap_or(0);
    let mut groups = vec![Vec::new(); people];
    for (person, place) in places {
        groups[*person].push(*place);
    }
    groups.retain(|g| !g.is_empty());
    groups
}

/// People drawn with replacement: their places, sorted. The same draws every time.
fn draws(people: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..DRAWS)
        .map(|_| {
            let drawn = (0..people.len()).flat_map(|_| people[next() as usize % people.len()].iter().copied());
            sorted(drawn.collect())
        })
        .collect()
}

/// Where as many impostors are accepted as genuine ones refused; `places` sorted.
fn equal_error(places: &[f64]) -> f64 {
    let n = places.len() as f64;
    let mut best = 1.0;
    for (index, far) in places.iter().enumerate() {
        // Accepting up to this place refuses all behind it.
        let frr = 1.0 - (index + 1) as f64 / n;
        if frr <= *far {
            return best;
        }
        best = frr;
    }
    best
}

fn curve(places: &[f64], impostors: usize) -> Vec<(f64, f64)> {
    let n = places.len() as f64;
    let least = (1.0 / impostors.max(1) as f64).max(1e-6);
    let steps = 400;
    (0..=steps)
        .map(|k| {
            let far = least * (0.5 / least).powf(f64::from(k) / f64::from(steps));
            (far, 1.0 - places.partition_point(|v| *v <= far) as f64 / n)
        })
        .collect()
}

fn accuracy(pairs: &[(f32, bool, u32)]) -> Rate {
    let mut folds: Vec<u32> = pairs.iter().map(|p| p.2).collect();
    folds.sort_unstable();
    folds.dedup();
    let right: usize = folds
        .iter()
        .map(|fold| {
            let (test, train): (Vec<_>, Vec<_>) = pairs.iter().partition(|p| p.2 == *fold);
            // With one fold only there is no other to learn from; its own threshold flatters, and the report says so.
            let threshold = best_threshold(if train.is_empty() { &test } else { &train });
            test.iter().filter(|p| (p.0 >= threshold) == p.1).count()
        })
        .sum();
    wilson(right, pairs.len())
}

/// The middle of the thresholds that judge most pairs rightly.
fn best_threshold(pairs: &[(f32, bool, u32)]) -> f32 {
    let mut ordered: Vec<(f32, bool)> = pairs.iter().map(|p| (p.0, p.1)).collect();
    ordered.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut right = ordered.iter().filter(|p| p.1).count();
    let (mut most, mut first, mut last) = (right, ordered[0].0, ordered[0].0);
    for (index, (similarity, same)) in ordered.iter().enumerate() {
        // The threshold moves above this pair.
        right = if *same { right - 1 } else { right + 1 };
        let threshold = ordered.get(index + 1).map_or(*similarity + 1e-6, |n| f32::midpoint(*similarity, n.0));
        if right > most {
            (most, first, last) = (right, threshold, threshold);
        } else if right == most {
            last = threshold;
        }
    }
    f32::midpoint(first, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separated_scores_are_perfect_and_shuffled_ones_are_not() {
        let pairs: Vec<_> = (0..40).map(|i| (if i % 2 == 0 { 0.8 } else { 0.1 }, i % 2 == 0, 9 + i / 20)).collect();
        let genuine: Vec<_> = (0..20).map(|i| (i / 2, 0.7 + i as f32 * 0.01)).collect();
        let impostor: Vec<f32> = (0..1000).map(|i| i as f32 * 0.0005).collect();
        let good = rates(&pairs, &genuine, impostor.clone());
        assert!(good.accuracy.value == 1.0 && good.auc.value == 1.0 && good.tar[1].value == 1.0);
        assert!(good.eer.value < 0.051 && good.accuracy.low < 1.0);
        let mixed: Vec<_> = genuine.iter().map(|(p, s)| (*p, s - 0.5)).collect();
        let bad = rates(&pairs, &mixed, impostor);
        assert!(bad.auc.value < 0.8 && bad.tar[1].value == 0.0 && bad.eer.value > 0.2);
    }
}
