//! Medians and ratios of rounds in which all had their turn.

/// What one turn came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) seconds: f64,
    /// Processor time of the server.
    pub(super) cpu_seconds: f64,
}

/// All turns of one contestant, in the order of the rounds.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) turns: Vec<Turn>,
}

/// The middle one; of an even number the mean of both.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// A table of `lines`, the last of which is compared to each: how many times as fast it is as that one,
/// as the median of the ratios within each round, with the lowest and the highest.
pub(super) fn print(title: &str, gib: f64, lines: &[Line]) {
    println!("\n{title}\n");
    println!("| | s | GiB/s | server CPU s/GiB | the last is so many times as fast |");
    println!("| --- | --: | --: | --: | --: |");
    let Some(ours) = lines.last() else { return };
    for line in lines {
        let seconds = median(line.turns.iter().map(|turn| turn.seconds));
        let cpu = median(line.turns.iter().map(|turn| turn.cpu_seconds)) / gib;
        let ratios: Vec<f64> = line
            .turns
            .iter()
            .zip(&ours.turns)
            .map(|(it, ours)| it.seconds / ours.seconds)
            .collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        println!(
            "| {} | {seconds:.3} | {:.2} | {cpu:.3} | {:.2} ({least:.2} to {most:.2}) |",
            line.name,
            gib / seconds,
            median(ratios)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median([]).is_nan());
    }
}
