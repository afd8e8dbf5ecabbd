//! InstaShop CDC for a minute; then everything that was changed is in the warehouse, and nothing else.

use std::time::{Duration, Instant};

use acequia_kafka::log::OwnedRecord;
use acequia_tests::check::assert_none;
use acequia_tests::shop::Shop;
use acequia_tests::stack::Stack;
use acequia_tests::wait::until;

const READY_DEADLINE: Duration = Duration::from_secs(120);
const OPEN: Duration = Duration::from_secs(60);

/// What a minute of ten rounds a second makes at least, on a loaded machine too: rows of each table, streamed changes of
/// each database.
const MINIMUM: [(&str, usize); 13] = [
    ("transaction", 200),
    ("transactiondetail", 400),
    ("customer", 50),
    ("product", 200),
    ("interaction", 60),
    ("stock", 200),
    ("carrier", 5),
    ("shipment", 200),
    ("change_events", 1_500),
    ("instashop", 500),
    ("crm_db", 50),
    ("erp_db", 150),
    ("ecommerce_db", 150),
];

/// The comparison is trusted because each of these makes it fail, at the place that was spoilt and nowhere else.
fn what_is_wrong_is_seen(shop: &Shop, records: &[(String, OwnedRecord)]) {
    let one_event = "(SELECT ctid FROM change_events WHERE op = 'c' LIMIT 1)";
    let spoilt = [
        ("dwh_db", "stock", "UPDATE stock SET quantity = quantity + 1 WHERE product_id = 7".to_owned()),
        ("dwh_db", "shipment", "DELETE FROM shipment WHERE id = (SELECT max(id) FROM shipment)".to_owned()),
        ("dwh_db", "change_events", format!("DELETE FROM change_events WHERE ctid = {one_event}")),
        (
            "dwh_db",
            "change_events",
            format!("INSERT INTO change_events SELECT * FROM change_events WHERE ctid = {one_event}"),
        ),
        (
            "crm_db",
            "crm_db",
            "UPDATE journal SET op = 'u' WHERE ctid = (SELECT max(ctid) FROM journal)".to_owned(),
        ),
    ];
    let mut seen = 0;
    for (database, place, sql) in spoilt {
        shop.database(database).run(&sql);
        let faults = shop.faults(records, &MINIMUM);
        let new = faults.len() - seen;
        assert!((1..=2).contains(&new), "{sql}: {new} more faults: {faults:#?}");
        assert!(faults.iter().any(|fault| fault.starts_with(&format!("{place}: "))), "{sql}: {faults:#?}");
        seen = faults.len();
    }
}

#[test]
fn after_a_minute_the_mirrors_equal_the_sources_and_each_change_event_is_kept_once() {
    let stack = Stack::up();
    let started = Instant::now();
    let mut shop = Shop::new(&stack);
    shop.acequia.start();
    shop.acequia.wait("everything is ready", READY_DEADLINE, |status| status.ready);
    println!("ready after {:.1} s", started.elapsed().as_secs_f64());

    let mut source = shop.database("instashop");
    let span =
        "SELECT coalesce(extract(epoch FROM max(created_at) - min(created_at)), 0)::bigint FROM transaction";
    let deadline = OPEN + READY_DEADLINE;
    until(
        "the shop has been open for a minute",
        deadline,
        || source.number(span),
        |seconds| *seconds >= OPEN.as_secs().cast_signed(),
    );
    let closing = Instant::now();
    shop.close();
    let records = shop.drain();
    println!("closed, nothing waits any more: {:.1} s", closing.elapsed().as_secs_f64());
    assert_none(&shop.faults(&records, &MINIMUM), "after a minute");
    what_is_wrong_is_seen(&shop, &records);

    let deleting = Instant::now();
    shop.delete();
    println!("deleted, nothing left: {:.1} s", deleting.elapsed().as_secs_f64());
}
