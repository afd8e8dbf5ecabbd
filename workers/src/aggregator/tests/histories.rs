//! Histories that are known: bad ones, which the comparison must notice, and some that are rare by chance.

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::broker::Fault;
use super::case::{Case, Format, IDLE_RETENTION_MS, cases};
use super::log::{BEGIN_MS, Line, Log, Order, Record, Said, TODAY, logs};
use super::reference::{Answer, Ending, answer};
use super::schedule::{Action, World};
use crate::aggregator::partial::SourcePartition;

const TOYS: usize = 0;
const BOOKS: usize = 1;

fn order(id: u8, at_s: i64, category: usize, cents: i64) -> Order {
    let lines = vec![Line { category, cents: Some(cents) }];
    Order { id, at_ms: BEGIN_MS + at_s * 1000, is_failed: false, day: TODAY, lines }
}

fn put(op: char, order: Order, before: Option<Order>) -> Record {
    Record { timestamp_ms: order.at_ms, said: Said::Put { op, order, before } }
}

fn log(topic: &str, partition: i32, records: Vec<Record>) -> Log {
    let source = SourcePartition { topic: topic.to_owned(), partition };
    Log { source, is_only_partition: topic == "returns", records }
}

/// A table with a change whose `before` is wrong, a change that comes twice, a delete, and windows that close.
fn table() -> Vec<Log> {
    let changed = put('u', order(1, 1, TOYS, 1_500), Some(order(1, 1, TOYS, 900)));
    let gone = Record { timestamp_ms: BEGIN_MS + 12_000, said: Said::Delete { id: 2 } };
    let orders = vec![
        put('c', order(1, 1, TOYS, 1_000), None),
        put('c', order(2, 2, BOOKS, 500), None),
        changed.clone(),
        changed,
        put('c', order(3, 12, TOYS, 700), None),
        gone,
        put('c', order(4, 31, TOYS, 100), None),
    ];
    let others = vec![put('c', order(1, 3, TOYS, 50), None), put('c', order(2, 32, BOOKS, 60), None)];
    let returns = vec![put('c', order(9, 33, BOOKS, 10), None)];
    vec![log("orders", 0, orders), log("orders", 1, others), log("returns", 0, returns)]
}

fn debezium() -> Case {
    Case { format: Format::Debezium, ..Case::plain() }
}

/// What is left to read is read, with a few records a transaction.
fn begun() -> Vec<Action> {
    let mut actions = Vec::new();
    for most in [2, 1] {
        actions.push(Action::Combine { source: 0, most });
        actions.push(Action::CommitCombine { worker: 0 });
        actions.extend((0..3).map(|partition| Action::Merge { partition, most: 100 }));
        actions.extend((0..2).map(|worker| Action::CommitMerge { worker }));
    }
    actions
}

/// The outcome of the table's history, after some more has happened to it.
fn outcome(case: &Case, logs: Vec<Log>, more: &[Action], fault: Fault) -> Result<Answer, String> {
    let mut world = World::new(case, logs, fault);
    begun().iter().chain(more).for_each(|action| world.act(action));
    world.end(false)
}

/// What the comparison says of a run in which something goes wrong; without that it is content.
fn objection(more: &[Action], fault: Fault) -> String {
    let answer = outcome(&debezium(), table(), more, Fault::None).unwrap();
    assert_eq!((answer.figures.len(), answer.late.len()), (4, 0));
    outcome(&debezium(), table(), more, fault).unwrap_err()
}

#[test]
fn partial_values_that_are_lost_are_noticed() {
    let objection = objection(&[], Fault::PartialsLost);
    assert!(objection.starts_with("one store: ") && objection.contains("Toys"), "{objection}");
}

#[test]
fn partial_values_that_come_twice_are_noticed() {
    let objection = objection(&[], Fault::PartialsDoubled);
    assert!(objection.starts_with("one store: ") && objection.contains("Toys"), "{objection}");
}

#[test]
fn rows_of_an_aborted_transaction_that_stay_are_noticed() {
    let more = [Action::Combine { source: 0, most: 2 }, Action::AbortCombine { worker: 0, restores: false }];
    let objection = objection(&more, Fault::NotRolledBack);
    assert!(objection.starts_with("one store: "), "{objection}");
}

#[test]
fn records_taken_on_top_of_an_aborted_transaction_that_stay_are_noticed() {
    let more = [
        Action::Combine { source: 0, most: 1 },
        Action::BeginCommitCombine { worker: 0 },
        Action::Combine { source: 0, most: 1 },
        Action::AbortCombine { worker: 0, restores: false },
    ];
    let events = || {
        let events = (1..9).map(|id| put('c', order(id, id.into(), TOYS, 100), None)).collect();
        vec![log("orders", 0, events), log("orders", 1, Vec::new())]
    };
    let case = Case::plain();
    outcome(&case, events(), &more, Fault::None).unwrap();
    let objection = outcome(&case, events(), &more, Fault::KeptMeanwhile).unwrap_err();
    assert!(objection.starts_with("one store: "), "{objection}");
}

#[test]
fn groups_of_an_aborted_transaction_that_stay_are_noticed() {
    let mut more = vec![Action::Combine { source: 0, most: 9 }, Action::CommitCombine { worker: 0 }];
    more.extend((0..3).map(|partition| Action::Merge { partition, most: 100 }));
    more.extend((0..2).map(|worker| Action::AbortMerge { worker, restores: false }));
    let objection = objection(&more, Fault::NotRolledBack);
    assert!(objection.starts_with("one store: "), "{objection}");
}

#[test]
fn a_group_that_is_lost_from_the_changelog_is_noticed() {
    let more = [Action::KillMerge { worker: 0 }, Action::KillMerge { worker: 1 }];
    let objection = objection(&more, Fault::GroupLost);
    assert!(objection.starts_with("one store: "), "{objection}");
}

#[test]
fn a_row_that_is_lost_from_the_changelog_is_noticed() {
    let objection = objection(&[Action::KillCombine { worker: 0 }], Fault::RowLost);
    assert!(objection.starts_with("one store: ") && objection.contains("Toys"), "{objection}");
}

#[test]
fn a_window_that_is_closed_too_early_is_noticed() {
    let objection = objection(&[], Fault::ClosedEarly);
    assert!(objection.contains("is_final: false") && objection.contains("is_final: true"), "{objection}");
}

#[test]
fn a_before_that_is_trusted_is_noticed() {
    let case = Case { is_global: true, ..debezium() };
    let truthful = |before| {
        let changed = put('u', order(1, 1, TOYS, 1_500), Some(order(1, 1, TOYS, before)));
        vec![log("orders", 0, vec![put('c', order(1, 1, TOYS, 1_000), None), changed])]
    };
    outcome(&case, truthful(1_000), &[], Fault::BeforeTrusted).unwrap();
    let objection = outcome(&case, truthful(900), &[], Fault::BeforeTrusted).unwrap_err();
    assert!(objection.contains("Toys"), "{objection}");
    // The same change twice is enough, whatever it says.
    let mut twice = truthful(1_000);
    let again = twice[0].records[1].clone();
    twice[0].records.push(again);
    outcome(&case, twice.clone(), &[], Fault::None).unwrap();
    assert!(outcome(&case, twice, &[], Fault::BeforeTrusted).is_err());
}

#[test]
fn a_value_that_is_shown_before_it_is_committed_is_noticed() {
    let mut more = vec![Action::Combine { source: 0, most: 9 }, Action::CommitCombine { worker: 0 }];
    more.extend((0..3).map(|partition| Action::Merge { partition, most: 100 }));
    for worker in 0..2 {
        more.push(Action::Emit { worker, store: 0, most: 100 });
        more.push(Action::Arrive { worker, store: 0 });
    }
    let objection = objection(&more, Fault::ShownUncommitted);
    assert!(objection.contains("shown before it was committed"), "{objection}");
}

#[test]
fn a_zombie_that_a_store_believes_is_noticed() {
    let mut more: Vec<Action> = (0..2).map(|worker| Action::Emit { worker, store: 0, most: 100 }).collect();
    more.extend((0..2).map(|worker| Action::KillMerge { worker }));
    // It writes again when everything else is over.
    let objection = objection(&more, Fault::VersionsIgnored);
    assert!(objection.starts_with("one store: "), "{objection}");
}

#[test]
fn a_source_that_is_silent_for_long_no_longer_holds_windows_open_and_still_counts_when_it_comes_back() {
    let mut logs = table();
    let rest = logs[1].records.split_off(1);
    let mut world = World::new(&debezium(), logs, Fault::None);
    world.drain();
    let first = |world: &World| {
        let figures = world.stores[0].figures();
        let (_, toys) = figures.into_iter().find(|((_, group), _)| group.contains("Toys")).unwrap();
        (toys.measures[0], toys.is_final)
    };
    assert_eq!(first(&world), (Some(2.into()), false));
    // Worker 1 has nothing but the silent source; worker 0 claims nothing.
    let until_ms = world.broker.now_ms + IDLE_RETENTION_MS;
    while world.broker.now_ms < until_ms {
        world.act(&Action::FallSilent { worker: 1, renews: true });
        world.act(&Action::Wait { ms: 20_000 });
    }
    world.act(&Action::FallSilent { worker: 1, renews: true });
    world.drain();
    assert_eq!(first(&world), (Some(2.into()), true));
    world.broker.logs[1].records.extend([put('c', order(7, 4, TOYS, 1), None)]);
    world.broker.logs[1].records.extend(rest);
    world.drain();
    assert_eq!(first(&world), (Some(3.into()), true));
}

#[test]
fn a_window_that_an_aborted_transaction_closed_is_closed_again() {
    let mut world = World::new(&debezium(), table(), Fault::None);
    for action in begun() {
        world.act(&action);
    }
    for source in 0..3 {
        world.act(&Action::Combine { source, most: 100 });
    }
    for worker in 0..2 {
        world.act(&Action::CommitCombine { worker });
    }
    // Each record in a transaction of its own, and each first in one that is thrown away.
    for step in 0..60 {
        let worker = step % 2;
        world.act(&Action::Merge { partition: step % 3, most: 1 });
        world.act(&Action::AbortMerge { worker, restores: false });
        world.act(&Action::Merge { partition: step % 3, most: 1 });
        world.act(&Action::CommitMerge { worker });
    }
    let answer = world.end(false).unwrap();
    assert!(answer.figures.values().any(|figures| figures.is_final));
}

#[test]
fn what_was_on_its_way_when_a_worker_died_is_not_forgotten() {
    let case = Case { forgets: true, ..debezium() };
    let mut world = World::new(&case, table(), Fault::None);
    for source in 0..3 {
        world.act(&Action::Combine { source, most: 100 });
    }
    for worker in 0..2 {
        world.act(&Action::CommitCombine { worker });
    }
    for partition in 0..3 {
        world.act(&Action::Merge { partition, most: 100 });
    }
    for worker in 0..2 {
        world.act(&Action::CommitMerge { worker });
        world.act(&Action::Emit { worker, store: 0, most: 100 });
        world.act(&Action::Emit { worker, store: 1, most: 100 });
        world.act(&Action::Arrive { worker, store: 1 });
        world.act(&Action::CommitMerge { worker });
        world.act(&Action::KillMerge { worker });
    }
    // Neither does what the dead sent come.
    assert!(world.stores[0].figures().is_empty());
    world.drain();
    world.check(false).unwrap();
}

#[test]
fn an_empty_group_of_a_window_that_closed_is_not_forgotten_before_the_stores_know() {
    let case = Case { is_grouped: false, ..debezium() };
    let gone = Record { timestamp_ms: BEGIN_MS + 2_000, said: Said::Delete { id: 1 } };
    let later = |id| put('c', order(id, 15, TOYS, 100), None);
    let logs = vec![
        log("orders", 0, vec![put('c', order(1, 1, TOYS, 100), None), gone, later(2)]),
        log("orders", 1, vec![later(3)]),
        log("returns", 0, vec![later(4)]),
    ];
    let mut world = World::new(&case, logs, Fault::None);
    for action in [
        Action::Combine { source: 0, most: 1 },
        Action::CommitCombine { worker: 0 },
        Action::Merge { partition: 0, most: 100 },
        Action::Show { worker: 0 },
        // The delete, then another's change, then what closes the window.
        Action::Combine { source: 0, most: 100 },
        Action::CommitCombine { worker: 0 },
        Action::Combine { source: 1, most: 100 },
        Action::CommitCombine { worker: 1 },
        Action::Combine { source: 2, most: 100 },
        Action::CommitCombine { worker: 0 },
        Action::MovePartition { partition: 0, to: 1, is_lost: false },
        Action::Merge { partition: 0, most: 100 },
        Action::CommitMerge { worker: 1 },
        Action::MovePartition { partition: 0, to: 0, is_lost: false },
    ] {
        world.act(&action);
    }
    assert_eq!(world.stores[0].figures().len(), 1);
    world.end(false).unwrap();
}

#[test]
fn a_day_that_is_over_takes_no_memory_any_more() {
    let mut world = World::new(&debezium(), table(), Fault::None);
    world.drain();
    world.act(&Action::Midnight);
    // What is counted in memory is compared with what would be restored.
    world.end(false).unwrap();
}

#[test]
fn the_runs_that_are_tried_have_something_of_everything() {
    let mut runner = TestRunner::deterministic();
    let (mut late, mut dead, mut last, mut open, mut big) = (0, 0, 0, 0, 0);
    for _ in 0..100 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        let logs = logs(&case).new_tree(&mut runner).unwrap().current();
        let answer = answer(&case, &logs, Ending { is_silent: false, today: TODAY });
        late += usize::from(!answer.late.is_empty());
        dead += usize::from(!answer.dead_letters.is_empty());
        let finals = answer.figures.values().filter(|figures| figures.is_final).count();
        last += usize::from(finals > 0);
        open += usize::from(finals < answer.figures.len());
        big += usize::from(answer.figures.len() > 3);
    }
    for (what, runs) in
        [("late", late), ("dead letters", dead), ("final", last), ("open", open), ("many groups", big)]
    {
        assert!(runs >= 20, "{what}: only in {runs} runs of 100");
    }
}
