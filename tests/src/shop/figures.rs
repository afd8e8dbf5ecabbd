//! The shop's live figures: what its aggregations should have come to, by SQL in the sources or from the log, and what
//! Redis and the table of windows have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use acequia_crds::names::{AggregationNames, PipelineId};
use acequia_kafka::admin::Admin;
use acequia_kafka::log::{OwnedRecord, read_range};
use serde_json::Value;

use super::manifest::pipeline_name;
use super::{NAMESPACE, Shop, field};
use crate::check::{Row, same_rows};
use crate::database::Database;
use crate::metrics::{Changed, Window, judge, negative, same_totals, with_late_deletes};
use crate::stack::KAFKA_DEADLINE;
use crate::wait::until;

/// Names of the aggregations.
pub const AGGREGATIONS: [&str; 5] = ["dashboard", "transactions", "operations", "categories", "behaviour"];
/// Their windows and watermarks, in the example.
pub const WINDOW_S: i64 = 30;
const WATERMARK_MS: i64 = 10_000;
/// How long values may take into the outputs once no record waits.
const SHOW_DEADLINE: Duration = Duration::from_secs(15);
/// Categories whose products change category while a test runs: from one into the other.
const MOVING: [&str; 2] = ["Books", "Sports"];

/// Values by name, exact, as text.
pub type Values = BTreeMap<String, String>;
type Counts = BTreeMap<(i64, String), i64>;

impl Shop {
    /// Corrects and erases sales of the last two seconds, so in time for their windows, and gives some products of two
    /// categories the other one.
    pub fn correct(&self) {
        let recent = "SELECT id FROM transactiondetail WHERE created_at > now() - interval '2 s'";
        self.database("instashop").run(&format!(
            "UPDATE transactiondetail SET quantity = quantity + 1, price = price + 0.01 WHERE id IN ({recent}) AND id % 2 = 0;
             DELETE FROM transactiondetail WHERE id IN ({recent}) AND id % 5 = 0;
             UPDATE product SET category = CASE category WHEN '{0}' THEN '{1}' ELSE '{0}' END
               WHERE category IN ('{0}', '{1}') AND random() < 0.5",
            MOVING[0], MOVING[1]
        ));
    }

    /// Erases the oldest interactions, whose windows have closed if the shop was open for a minute.
    pub fn erase_late(&self) {
        let oldest = "SELECT id FROM interaction ORDER BY id LIMIT 3";
        self.database("crm_db").run(&format!("DELETE FROM interaction WHERE id IN ({oldest})"));
    }

    /// Waits until the figures are right. `records` are all change events; `size_s` is the size of the windows of
    /// categories.
    ///
    /// # Panics
    /// When they don't get there, with what is wrong.
    pub fn wait_for_figures(&self, records: &[(String, OwnedRecord)], size_s: i64) {
        let faults = || self.figure_faults(records, size_s);
        until("the figures are right", SHOW_DEADLINE, faults, Vec::is_empty);
    }

    /// What is wrong with the figures now.
    pub fn figure_faults(&self, records: &[(String, OwnedRecord)], size_s: i64) -> Vec<String> {
        let mut faults = self.total_faults(records);
        faults.extend(self.category_faults(size_s));
        faults.extend(self.behaviour_faults(records));
        for aggregation in AGGREGATIONS {
            let topic = self.names(aggregation).dead_letter_topic;
            faults.extend(self.log(&topic).iter().map(|letter| format!("{topic}: {}", told(letter))));
        }
        faults
    }

    /// The figures without windows.
    fn total_faults(&self, records: &[(String, OwnedRecord)]) -> Vec<String> {
        let mut shop = self.database("instashop");
        let of_detail = "SELECT coalesce(sum(price * quantity), 0) FROM transactiondetail";
        let dashboard = object(
            &shop.rows(&format!(
                "SELECT (SELECT count(*) FROM transaction) AS transactions, (SELECT count(*) FROM customer) AS customers, \
                 (SELECT count(*) FROM product) AS products, trim_scale(({of_detail})) AS revenue, \
                 trim_scale(({of_detail} WHERE created_at::date = current_date)) AS revenue_today"
            ))[0],
        );
        let by_status = "SELECT status AS group, count(*) FROM transaction GROUP BY 1";
        let transactions = shop.rows(by_status);
        let transactions = transactions
            .iter()
            .map(object)
            .map(|row| (format!("{}:count", row["group"]), row["count"].clone()));
        let operations = operations(records);
        let operations = operations.into_iter().map(|(name, count)| (name, count.to_string()));
        let shown = [
            ("dashboard", dashboard, self.document("metrics:dashboard"), 5),
            ("transactions", transactions.collect(), self.hash("metrics:transactions"), 3),
            ("operations", operations.collect(), self.hash("metrics:operations"), 12),
        ];
        let faults = shown.into_iter().flat_map(|(name, expected, found, minimum)| {
            let faults = same_rows(&rows(&expected), &rows(&found), minimum);
            faults.into_iter().map(move |fault| format!("{name}: {fault:?}"))
        });
        faults.collect()
    }

    /// Windows of categories: the table, and beside it Redis.
    fn category_faults(&self, size_s: i64) -> Vec<String> {
        let expected = self.source_windows(size_s);
        let found = self.category_windows();
        let mut faults = same_totals(&expected, &found);
        faults.extend(negative(&found));
        // A product that changed category counts where it was when it was sold; by then the source has forgotten.
        let is_exact = |window: &&Window| size_s != WINDOW_S || !MOVING.contains(&window.group.as_str());
        let exact = |windows: &[Window]| -> Vec<Row> {
            windows.iter().filter(is_exact).map(Window::to_row).collect()
        };
        let differ = same_rows(&exact(&expected), &exact(&found), 6);
        faults.extend(differ.into_iter().map(|fault| format!("category_windows: {fault:?}")));
        for start_ms in found.iter().map(|window| window.start_ms).collect::<BTreeSet<_>>() {
            let of_window = found.iter().filter(|window| window.start_ms == start_ms);
            let in_table = of_window.flat_map(|window| {
                let [items, revenue] = [0, 1].map(|at| window.measures[at].normalize().to_string());
                [(format!("{}:items", window.group), items), (format!("{}:revenue", window.group), revenue)]
            });
            let in_redis = self.hash(&format!("metrics:categories:{}", instant(start_ms)));
            let differ = same_rows(&rows(&in_table.collect()), &rows(&in_redis), 2);
            faults
                .extend(differ.into_iter().map(|fault| format!("metrics:categories {start_ms}: {fault:?}")));
        }
        let late = self.log(&self.names("categories").late_topic);
        faults.extend(late.iter().map(|record| format!("late: {}", told(record))));
        faults
    }

    /// Windows of interactions: what the log comes to by the contract, and the same by what the source still has.
    fn behaviour_faults(&self, records: &[(String, OwnedRecord)]) -> Vec<String> {
        let topic = self.topic("interaction");
        let log: Vec<Changed> =
            records.iter().filter(|(of, _)| *of == topic).filter_map(|(_, record)| changed(record)).collect();
        let size_ms = WINDOW_S * 1000;
        let judged = judge(&log, size_ms, WATERMARK_MS);
        let late: Vec<(String, String)> = self
            .log(&self.names("behaviour").late_topic)
            .iter()
            .filter_map(changed)
            .map(|change| (change.op, change.key))
            .collect();
        let row = |(op, key): &(String, String)| vec![Some(op.clone()), Some(key.clone())];
        let found = self.behaviour_windows();
        let mut faults: Vec<String> = Vec::new();
        let mut add = |what: &str, expected: Vec<Row>, found: Vec<Row>, minimum| {
            let differ = same_rows(&expected, &found, minimum);
            faults.extend(differ.into_iter().map(|fault| format!("{what}: {fault:?}")));
        };
        add("behaviour", count_rows(&judged.counts), count_rows(&found), 8);
        add("late", judged.late.iter().map(row).collect(), late.iter().map(row).collect(), 0);
        let inserted = log.iter().filter_map(|change| {
            let (at_ms, kind) = change.row.clone()?;
            Some((change.key.clone(), (at_ms - at_ms.rem_euclid(size_ms), kind)))
        });
        let erased: Vec<String> = late.into_iter().filter(|(op, _)| op == "d").map(|(_, key)| key).collect();
        let source = with_late_deletes(&self.source_interactions(), &inserted.collect(), &erased);
        add("behaviour by the source", count_rows(&source), count_rows(&found), 8);
        faults
    }

    /// Deletes in the late topic of behaviour: how many there are.
    pub fn late_deletes(&self) -> usize {
        self.log(&self.names("behaviour").late_topic).len()
    }

    /// How much each aggregation has counted, by its outputs; it rises with every sale and every interaction, but for
    /// what is erased. None while an output can't be read.
    pub fn counted(&self, warehouse: &mut Database) -> BTreeMap<&'static str, i64> {
        let whole = |text: &String| text.parse::<i64>().unwrap_or(0);
        let sum = |values: &Values| values.values().map(whole).sum::<i64>();
        let table = warehouse.has_table("category_windows");
        let items = if table {
            warehouse.number("SELECT coalesce(sum(items), 0)::bigint FROM category_windows")
        } else {
            0
        };
        let behaviour: i64 = self.behaviour_windows().values().sum();
        BTreeMap::from([
            ("dashboard", self.document("metrics:dashboard").get("transactions").map_or(0, whole)),
            ("transactions", sum(&self.hash("metrics:transactions"))),
            ("operations", sum(&self.hash("metrics:operations"))),
            ("categories", items),
            ("behaviour", behaviour),
        ])
    }

    /// Makes the windows of categories a minute, and waits until the table has those from the log's start and no other,
    /// and nothing is left of what the old ones were computed with.
    ///
    /// # Panics
    /// When it doesn't come to that.
    pub fn widen_windows(&mut self, records: &[(String, OwnedRecord)]) {
        let widen = |pipeline: &mut Value| {
            let all = pipeline["spec"]["aggregations"].as_array_mut().expect("aggregations");
            let categories = all.iter_mut().find(|one| one["name"] == "categories").expect("categories");
            categories["window"]["tumbling"] = "60s".into();
        };
        let before = self.own_of_categories();
        assert_eq!(before.len(), 5, "three topics and two groups: {before:?}");
        let (code, said) = self.acequia.plan(widen);
        let rebuild = "aggregation-categories: rebuild from the log's start";
        assert!(code == Some(2) && said.contains(rebuild), "{code:?}: {said}");
        assert!(!said.contains("aggregation-behaviour: rebuild"), "{said}");
        self.acequia.edit(widen);
        let old = || self.own_of_categories().intersection(&before).cloned().collect::<Vec<_>>();
        until("nothing is left of the old windows", Duration::from_secs(60), old, Vec::is_empty);
        self.wait_for_figures(records, 60);
        assert_eq!(self.own_of_categories().len(), 5);
    }

    /// Topics and groups that hold state of the aggregation of categories.
    fn own_of_categories(&self) -> BTreeSet<String> {
        let admin = Admin::connect(&self.stack.kafka(), "acequia tests").expect("an admin client");
        let topics = admin.list_topics(KAFKA_DEADLINE).expect("the topics");
        let groups = admin.list_groups(KAFKA_DEADLINE).expect("the groups");
        let stage = format!(".{NAMESPACE}.{}.aggregation-categories.", pipeline_name(&self.name));
        topics.into_iter().chain(groups).filter(|name| name.contains(&stage)).collect()
    }

    fn source_windows(&self, size_s: i64) -> Vec<Window> {
        let query = format!(
            "SELECT (extract(epoch FROM date_bin('{size_s} s', d.created_at, 'epoch')) * 1000)::bigint AS start, \
             p.category AS group, sum(d.quantity) AS items, sum(d.price * d.quantity) AS revenue \
             FROM transactiondetail d JOIN product p ON p.id = d.product_id GROUP BY 1, 2"
        );
        self.database("instashop").rows(&query).iter().map(window).collect()
    }

    fn category_windows(&self) -> Vec<Window> {
        let query = "SELECT (extract(epoch FROM window_start) * 1000)::bigint AS start, category AS group, items, revenue \
                     FROM category_windows";
        let mut warehouse = self.warehouse();
        if warehouse.has_table("category_windows") {
            warehouse.rows(query).iter().map(window).collect()
        } else {
            Vec::new()
        }
    }

    fn source_interactions(&self) -> Counts {
        let query = format!(
            "SELECT (extract(epoch FROM date_bin('{WINDOW_S} s', created_at, 'epoch')) * 1000)::bigint AS start, \
             kind AS group, count(*) FROM interaction GROUP BY 1, 2"
        );
        let rows = self.database("crm_db").rows(&query);
        let counted = |row: BTreeMap<String, String>| {
            let number = |name: &str| row[name].parse().expect("a number");
            ((number("start"), row["group"].clone()), number("count"))
        };
        rows.iter().map(object).map(counted).collect()
    }

    fn behaviour_windows(&self) -> Counts {
        let prefix = format!("{}:metrics:behaviour:", self.name);
        let mut counts = Counts::new();
        for key in self.keys(&format!("{prefix}*")) {
            let start_ms = milliseconds(key.strip_prefix(&prefix).unwrap_or_default());
            for (name, count) in self.hash_of(&key) {
                let kind = name.strip_suffix(":events").expect("a measure");
                counts.insert((start_ms, kind.to_owned()), count.parse().expect("a count"));
            }
        }
        counts
    }

    fn names(&self, aggregation: &str) -> AggregationNames {
        let [cluster, namespace, name] = ["local", NAMESPACE, &pipeline_name(&self.name)].map(str::to_owned);
        PipelineId { cluster, namespace, name }.aggregation(aggregation, "")
    }

    fn log(&self, topic: &str) -> Vec<OwnedRecord> {
        read_range(&self.stack.kafka(), topic, KAFKA_DEADLINE).expect("the topic can be read")
    }
}

/// Records by topic and operation, named as a field of `metrics:operations`. A tombstone is no event.
pub fn operations(records: &[(String, OwnedRecord)]) -> BTreeMap<String, i64> {
    let mut operations = BTreeMap::new();
    for (topic, record) in records {
        let Some(value) = &record.value else { continue };
        let event: Value = serde_json::from_slice(value).expect("a change event");
        let op = field(&event["op"]).expect("an operation");
        *operations.entry(format!("{topic}:{op}:count")).or_default() += 1;
    }
    operations
}

/// A record of the topic of interactions; none for a tombstone.
fn changed(record: &OwnedRecord) -> Option<Changed> {
    let event: Value = serde_json::from_slice(record.value.as_deref()?).expect("a change event");
    let key: Value = serde_json::from_slice(record.key.as_deref()?).expect("a key");
    let after = &event["after"];
    let row = after.is_object().then(|| {
        let created_at = field(&after["created_at"]).expect("a time");
        (milliseconds(&created_at), field(&after["kind"]).expect("a kind"))
    });
    Some(Changed { partition: record.partition, op: field(&event["op"])?, key: field(&key["id"])?, row })
}

fn window(row: &Row) -> Window {
    let row = object(row);
    let measures = ["items", "revenue"].map(|name| row[name].parse().expect("a number"));
    Window {
        start_ms: row["start"].parse().expect("a number"),
        group: row["group"].clone(),
        measures: measures.into(),
    }
}

/// The columns of a row as [`Database::rows`] gives it.
fn object(row: &Row) -> Values {
    let row: Value = serde_json::from_str(row[0].as_deref().expect("a row")).expect("a row");
    let columns = row.as_object().cloned().unwrap_or_default();
    columns.into_iter().filter_map(|(name, value)| Some((name, field(&value)?))).collect()
}

fn rows(values: &Values) -> Vec<Row> {
    values.iter().map(|(name, value)| vec![Some(name.clone()), Some(value.clone())]).collect()
}

fn count_rows(counts: &Counts) -> Vec<Row> {
    let row = |((start_ms, group), count): (&(i64, String), &i64)| {
        [start_ms.to_string(), group.clone(), count.to_string()].map(Some).into()
    };
    counts.iter().map(row).collect()
}

fn told(record: &OwnedRecord) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}

fn milliseconds(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().expect("a time").as_millisecond()
}

fn instant(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).expect("a time").to_string()
}
