//! What happens, in which order: two workers of each step, whatever a cluster does to them, and the end of it.

use proptest::prelude::*;

use super::broker::{Broker, Fault};
use super::case::{Case, IDLE_RETENTION_MS};
use super::combiner::Combiner;
use super::log::Log;
use super::merger::{Merger, STORES, Sent};
use super::reference::{Answer, Ending, answer};
use super::store::Store;

/// Workers of each step.
const WORKERS: usize = 2;

/// Something that happens. Places are taken modulo what there is.
#[derive(Clone, Debug)]
pub enum Action {
    /// Step one takes some records of a source.
    Combine {
        source: usize,
        most: usize,
    },
    CommitCombine {
        worker: usize,
    },
    /// What is open is being committed while more is taken.
    BeginCommitCombine {
        worker: usize,
    },
    AbortCombine {
        worker: usize,
        restores: bool,
    },
    KillCombine {
        worker: usize,
    },
    /// A source goes to a worker of step one. `is_lost`: the one that had it hears of it too late.
    MoveSource {
        source: usize,
        to: usize,
        is_lost: bool,
    },
    /// Sources that are at their end say so, or say so again.
    FallSilent {
        worker: usize,
        renews: bool,
    },
    /// Step two takes some records of a partition.
    Merge {
        partition: usize,
        most: usize,
    },
    CommitMerge {
        worker: usize,
    },
    AbortMerge {
        worker: usize,
        restores: bool,
    },
    KillMerge {
        worker: usize,
    },
    MovePartition {
        partition: usize,
        to: usize,
        is_lost: bool,
    },
    Emit {
        worker: usize,
        store: usize,
        most: usize,
    },
    Arrive {
        worker: usize,
        store: usize,
    },
    /// A worker shows everything it has, and forgets what it may.
    Show {
        worker: usize,
    },
    /// What a worker sent before it died arrives.
    ZombieWrites,
    /// A store loses everything, and it is noticed.
    EmptyStore {
        store: usize,
    },
    Midnight,
    Wait {
        ms: i64,
    },
}

/// A cluster and its outputs.
pub struct World {
    pub broker: Broker,
    combiners: Vec<Combiner>,
    /// Which worker has which source, and which partition.
    source_of: Vec<usize>,
    partition_of: Vec<usize>,
    mergers: Vec<Merger>,
    pub stores: [Store; STORES],
    zombies: Vec<(usize, Sent)>,
}

impl World {
    pub fn new(case: &Case, logs: Vec<Log>, fault: Fault) -> Self {
        let broker = Broker::new(case, logs, fault);
        let mut world = Self {
            combiners: (0..WORKERS).map(|_| Combiner::new(case)).collect(),
            source_of: (0..broker.logs.len()).map(|source| source % WORKERS).collect(),
            partition_of: (0..broker.partials.len()).map(|partition| partition % WORKERS).collect(),
            mergers: (0..WORKERS).map(|_| Merger::new(&broker)).collect(),
            stores: Default::default(),
            zombies: Vec::new(),
            broker,
        };
        for (source, worker) in world.source_of.iter().enumerate() {
            world.combiners[*worker].claim(&world.broker, source);
        }
        for (partition, worker) in world.partition_of.iter().enumerate() {
            world.mergers[*worker].claim(&world.broker, partition);
        }
        world
    }

    pub fn act(&mut self, action: &Action) {
        let broker = &mut self.broker;
        match *action {
            Action::Combine { source, most } => {
                let source = source % self.source_of.len();
                self.combiners[self.source_of[source]].poll(broker, source, most);
            }
            Action::CommitCombine { worker } => self.combiners[worker].commit(broker),
            Action::BeginCommitCombine { worker } => self.combiners[worker].commit_meanwhile(broker),
            Action::AbortCombine { worker, restores } => self.combiners[worker].abort(broker, restores),
            Action::KillCombine { worker } => self.combiners[worker].kill(broker),
            Action::MoveSource { source, to, is_lost } => self.move_source(source, to, is_lost),
            Action::FallSilent { worker, renews } => {
                self.combiners[worker].fall_silent(broker);
                if renews {
                    self.combiners[worker].renew(broker);
                }
            }
            Action::Merge { partition, most } => {
                let partition = partition % self.partition_of.len();
                self.mergers[self.partition_of[partition]].poll(broker, partition, most);
            }
            Action::CommitMerge { worker } => self.mergers[worker].commit(broker),
            Action::AbortMerge { worker, restores } => self.mergers[worker].abort(broker, restores),
            Action::KillMerge { worker } => {
                let sent = self.mergers[worker].kill(broker);
                self.zombies.extend(sent);
            }
            Action::MovePartition { partition, to, is_lost } => self.move_partition(partition, to, is_lost),
            Action::Emit { worker, store, most } => self.mergers[worker].emit(broker, store, most),
            Action::Arrive { worker, store } => {
                self.mergers[worker].arrive(broker, store, &mut self.stores[store]);
            }
            Action::Show { worker } => self.show_all_of(worker),
            Action::ZombieWrites => self.zombies_write(),
            Action::EmptyStore { store } => self.empty(store),
            Action::Midnight => self.midnight(),
            Action::Wait { ms } => broker.now_ms += ms,
        }
    }

    fn move_source(&mut self, source: usize, to: usize, is_lost: bool) {
        let source = source % self.source_of.len();
        let from = std::mem::replace(&mut self.source_of[source], to);
        if is_lost {
            // The new one begins while the old one still believes that it has it.
            self.combiners[from].lose(&self.broker, source);
        } else {
            self.combiners[from].revoke(&mut self.broker, source);
        }
        self.combiners[to].claim(&self.broker, source);
    }

    fn move_partition(&mut self, partition: usize, to: usize, is_lost: bool) {
        let partition = partition % self.partition_of.len();
        let from = std::mem::replace(&mut self.partition_of[partition], to);
        if is_lost {
            self.mergers[from].lose(&self.broker, partition);
        } else {
            self.mergers[from].revoke(&mut self.broker, partition);
        }
        self.mergers[to].claim(&self.broker, partition);
    }

    fn zombies_write(&mut self) {
        for (store, sent) in std::mem::take(&mut self.zombies) {
            sent.arrive(&self.broker, &mut self.stores[store]);
        }
    }

    /// What is forgotten can't be filled in again. Of what was on its way nothing arrives: a store that has lost its
    /// versions would believe it, and a group that is gone since would be there again.
    fn empty(&mut self, store: usize) {
        if !self.broker.case.forgets {
            self.stores[store].empty();
            self.zombies.retain(|(to, _)| *to != store);
            self.mergers.iter_mut().for_each(|merger| merger.refill(store));
        }
    }

    /// The next day. Windows that are forgotten keep what they showed, so there it doesn't come.
    fn midnight(&mut self) {
        if self.broker.case.is_global || !self.broker.case.forgets {
            self.broker.today += 1;
            self.mergers.iter_mut().for_each(|merger| merger.turn_the_day(&self.broker));
        }
    }

    /// Reads, merges and shows all there is.
    pub fn drain(&mut self) {
        for (source, worker) in self.source_of.iter().enumerate() {
            self.combiners[*worker].poll(&self.broker, source, usize::MAX);
        }
        self.combiners.iter_mut().for_each(|combiner| combiner.commit(&mut self.broker));
        self.show();
    }

    fn show(&mut self) {
        for (partition, worker) in self.partition_of.iter().enumerate() {
            self.mergers[*worker].poll(&self.broker, partition, usize::MAX);
        }
        for worker in 0..WORKERS {
            self.show_all_of(worker);
        }
    }

    fn show_all_of(&mut self, worker: usize) {
        let merger = &mut self.mergers[worker];
        merger.commit(&mut self.broker);
        while !merger.is_flushed() {
            for (number, store) in self.stores.iter_mut().enumerate() {
                merger.emit(&self.broker, number, usize::MAX);
                merger.arrive(&self.broker, number, store);
            }
        }
        // Forgets what is in every output now.
        merger.commit(&mut self.broker);
    }

    /// Nothing comes any more, for longer than windows wait.
    pub fn wait_in_silence(&mut self) {
        let until_ms = self.broker.now_ms + IDLE_RETENTION_MS + 20_000;
        while self.broker.now_ms < until_ms {
            for combiner in &mut self.combiners {
                combiner.fall_silent(&self.broker);
                combiner.renew(&mut self.broker);
            }
            self.broker.now_ms += 20_000;
        }
        self.show();
    }

    /// Whether each partition's state knows that nothing comes.
    pub fn is_silent(&self) -> bool {
        let mut states = (0..self.partition_of.len())
            .map(|partition| self.mergers[self.partition_of[partition]].partition(partition).unwrap());
        states.all(|state| state.header().is_silent(&self.broker.expected))
    }

    /// Compares everything that came out with what must.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&mut self, is_silent: bool) -> Result<Answer, String> {
        let broker = &self.broker;
        let expected = answer(&broker.case, &broker.logs, Ending { is_silent, today: broker.today });
        let mut topic = Store::default();
        broker.documents.iter().for_each(|row| topic.write_newer(row));
        let [one, other] = &self.stores;
        for (name, store) in [("one store", one), ("the other store", other), ("the topic", &topic)] {
            if let Some(fault) = store.faults.first() {
                return Err(format!("{name}: {fault}"));
            }
            let mut found = store.figures();
            for key in expected.figures.keys().chain(&found.keys().cloned().collect::<Vec<_>>()) {
                let (must, is) = (expected.figures.get(key), found.get(key));
                // A group that never got a record isn't known to anybody.
                let is_nothing = broker.case.is_global
                    && is.is_none()
                    && must.is_some_and(|must| must.measures[0].is_some_and(|count| count.is_zero()));
                if must != is && !is_nothing {
                    return Err(format!("{name}: {key:?} must be {must:?} and is {is:?}"));
                }
            }
            found.clear();
        }
        for (name, found, must) in [
            ("late", &broker.late, &expected.late),
            ("dead letters", &broker.dead_letters, &expected.dead_letters),
        ] {
            let mut found = found.clone();
            found.sort();
            if found != *must {
                return Err(format!("{name}: {must:?} must be there, and {found:?} are"));
            }
        }
        Ok(expected)
    }

    /// The rest: all input is read, the dead write once more, and the outcome is compared.
    pub fn end(&mut self, is_silent: bool) -> Result<Answer, String> {
        self.drain();
        if is_silent {
            self.wait_in_silence();
            if !self.broker.case.is_global && !self.is_silent() {
                return Err("silence isn't noticed".to_owned());
            }
        }
        self.zombies_write();
        let answer = self.check(is_silent)?;
        self.combiners.iter().try_for_each(|combiner| combiner.compare_with_changelog(&self.broker))?;
        self.mergers.iter_mut().try_for_each(|merger| merger.compare_with_changelog(&self.broker))?;
        Ok(answer)
    }
}

/// Anything that may happen.
pub fn actions() -> impl Strategy<Value = Vec<Action>> {
    let worker = || 0..WORKERS;
    let place = || 0_usize..6;
    let few = || 1_usize..8;
    let action = prop_oneof![
        16 => (place(), few()).prop_map(|(source, most)| Action::Combine { source, most }),
        3 => worker().prop_map(|worker| Action::CommitCombine { worker }),
        5 => worker().prop_map(|worker| Action::BeginCommitCombine { worker }),
        2 => (worker(), any::<bool>())
            .prop_map(|(worker, restores)| Action::AbortCombine { worker, restores }),
        1 => worker().prop_map(|worker| Action::KillCombine { worker }),
        2 => (place(), worker(), any::<bool>())
            .prop_map(|(source, to, is_lost)| Action::MoveSource { source, to, is_lost }),
        1 => (worker(), any::<bool>()).prop_map(|(worker, renews)| Action::FallSilent { worker, renews }),
        12 => (place(), 1_usize..20).prop_map(|(partition, most)| Action::Merge { partition, most }),
        6 => worker().prop_map(|worker| Action::CommitMerge { worker }),
        2 => (worker(), any::<bool>()).prop_map(|(worker, restores)| Action::AbortMerge { worker, restores }),
        2 => worker().prop_map(|worker| Action::KillMerge { worker }),
        2 => (place(), worker(), any::<bool>())
            .prop_map(|(partition, to, is_lost)| Action::MovePartition { partition, to, is_lost }),
        6 => (worker(), 0..STORES, few())
            .prop_map(|(worker, store, most)| Action::Emit { worker, store, most }),
        4 => (worker(), 0..STORES).prop_map(|(worker, store)| Action::Arrive { worker, store }),
        4 => worker().prop_map(|worker| Action::Show { worker }),
        1 => Just(Action::ZombieWrites),
        1 => (0..STORES).prop_map(|store| Action::EmptyStore { store }),
        1 => Just(Action::Midnight),
        2 => (0_i64..5_000).prop_map(|ms| Action::Wait { ms }),
    ];
    prop::collection::vec(action, 0..120)
}
