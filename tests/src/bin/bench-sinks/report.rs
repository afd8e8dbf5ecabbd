//! The table at the end, in Markdown.

use acequia_tests::bench::figures::{self, spread, version};

use crate::measure::{Cost, Watch};
use crate::restart::Restart;

/// What all runs of one engine on one job cost.
#[derive(Clone, Debug)]
pub struct Line {
    /// What is moved how.
    pub path: &'static str,
    /// The engine.
    pub engine: &'static str,
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
        format!(
            "| {} | {} | {least:.0}/{middle:.0}/{most:.0} | {:.2} | {:.2} | {:.2} | {peak} | {:.2} |",
            self.path,
            self.engine,
            self.median(|cost| cost.per_million(cost.engine_cpu)),
            self.median(|cost| cost.per_million(cost.postgres_cpu)),
            self.median(|cost| cost.per_million(cost.broker_cpu)),
            self.median(|cost| cost.start_seconds),
        )
    }

    /// How many times this line's speed is the other's, and the other's processor time this one's.
    fn ratio(&self, other: &Self) -> String {
        let speed = |line: &Self| line.median(Cost::thousands_per_second);
        let cpu = |line: &Self| line.median(|cost| cost.per_million(cost.engine_cpu));
        let both = |line: &Self| line.median(|cost| cost.per_million(cost.engine_cpu + cost.postgres_cpu));
        format!(
            "{}: {:.1} times the rows per second of the {}; it spends {:.1} times the processor time ({:.1} times with PostgreSQL's)",
            self.path,
            speed(self) / speed(other),
            other.engine,
            cpu(other) / cpu(self),
            both(other) / both(self)
        )
    }
}

/// Prints everything; `lines` are ours and the peer's in turn.
pub fn print(lines: &[Line], restart: &Restart, watch: &mut Watch) {
    println!("\n{}\n", machine(watch));
    println!(
        "| path | engine | k rows/s min/median/max | engine CPU s per M rows | PostgreSQL | broker | peak RSS MiB | start to first row s |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for line in lines {
        println!("{}", line.row());
    }
    println!();
    for pair in lines.chunks_exact(2) {
        println!("{}", pair[0].ratio(&pair[1]));
    }
    println!(
        "worker: restart to first row {:.2} s after a stop, {:.2} s after kill -9; idle {} MiB",
        restart.after_stop_seconds, restart.after_kill_seconds, restart.idle_mib
    );
}

fn machine(watch: &mut Watch) -> String {
    let postgres = watch.database.number("SELECT current_setting('server_version_num')::bigint");
    format!(
        "{}; PostgreSQL {}.{}, Kafka {}, Debezium JDBC sink {}",
        figures::machine(),
        postgres / 10_000,
        postgres % 10_000,
        version("KAFKA_VERSION"),
        version("DEBEZIUM_JDBC_VERSION"),
    )
}
