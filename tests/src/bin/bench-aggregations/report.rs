//! The tables at the end, in Markdown.

use acequia_tests::bench::figures::{self, spread, version};

use crate::delay::{Delays, LEFT_OUT, RATE, SPEED};
use crate::measure::Cost;

/// What all runs of one engine in one way cost.
#[derive(Clone, Debug)]
pub struct Line {
    /// The engine.
    pub engine: &'static str,
    /// Where the results go.
    pub output: &'static str,
    /// On how many cores.
    pub cores: usize,
    /// One a run.
    pub costs: Vec<Cost>,
}

impl Line {
    fn median(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        spread(self.costs.iter().map(of).collect())[1]
    }

    fn row(&self) -> String {
        let [least, middle, most] = spread(self.costs.iter().map(Cost::thousands_per_second).collect());
        let peak = self.costs.iter().map(|cost| cost.peak_mib).max().unwrap_or(0);
        let cpu = |of: fn(&Cost) -> f64| self.median(|cost| cost.per_million(of(cost)));
        format!(
            "| {} | {} | {} | {least:.0}/{middle:.0}/{most:.0} | {:.2} | {:.2} | {:.2} | {peak} | {:.2} |",
            self.engine,
            self.output,
            self.cores,
            cpu(|cost| cost.engine_cpu),
            cpu(|cost| cost.broker_cpu),
            cpu(|cost| cost.redis_cpu),
            self.median(|cost| cost.start_seconds),
        )
    }

    /// How many times this line's speed is the other's, and the other's processor time this one's.
    fn ratio(&self, other: &Self) -> String {
        let speed = |line: &Self| line.median(Cost::thousands_per_second);
        let cpu = |line: &Self| line.median(|cost| cost.per_million(cost.engine_cpu));
        format!(
            "{}, {}, {} core(s): {:.1} times the records per second of {}, which spends {:.1} times the processor time",
            self.engine,
            self.output,
            self.cores,
            speed(self) / speed(other),
            other.engine,
            cpu(other) / cpu(self)
        )
    }
}

/// Prints everything; the last line is the peer's, if it was measured.
pub fn print(lines: &[Line], delays: &[Delays]) {
    let kafka = version("KAFKA_VERSION");
    println!("\n{}; Kafka and Kafka Streams {kafka}\n", figures::machine());
    println!(
        "| engine | results to | cores | k records/s min/median/max | engine CPU s per M records | broker | Redis | peak RSS MiB | start to first commit s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for line in lines {
        println!("{}", line.row());
    }
    println!();
    if let Some((peer, others)) = lines.split_last() {
        for line in others.iter().filter(|line| line.engine != peer.engine) {
            println!("{}", line.ratio(peer));
        }
    }
    if delays.is_empty() {
        return;
    }
    println!(
        "\nDelay from the watermark's passing to the result, {RATE} events/s, event time {SPEED} times as fast, without the first {LEFT_OUT} windows:\n"
    );
    println!(
        "| engine | results to | p50 ms | p99 ms | most ms | results | windows | events lost | in the first windows too |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for one in delays {
        let [half, most_of, all] = [50.0, 99.0, 100.0].map(|percent| one.percentile(percent));
        println!(
            "| {} | {} | {half:.0} | {most_of:.0} | {all:.0} | {} | {} | {} | {} |",
            one.engine,
            one.output,
            one.ms.len(),
            one.windows,
            one.lost,
            one.lost_in_all
        );
    }
}
