//! What is wrong is said within half a minute, with where, why and what to do, and heals by itself once the cause is
//! gone. One `acequia run` lives through all of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod list;
mod scene;

use std::time::{Duration, Instant};

use acequia_tests::small_pipeline::SmallPipeline;
use acequia_tests::stack::Stack;
use acequia_tests::wait::until;

use self::list::{AT_THE_START, OF_SERVERS, OF_THE_MANIFEST};
use self::scene::{Outside, Place, Scene};

/// How soon a fault must be said.
const SAID_WITHIN: Duration = Duration::from_secs(30);
/// How soon everything must be well, or the next fault be said, once the cause is gone.
const HEALED_WITHIN: Duration = Duration::from_secs(60);
/// `acequia plan`: nothing to change; something is refused or can't be seen; something would change.
const PLAN_NOTHING: i32 = 0;
const PLAN_REFUSED: i32 = 1;
const PLAN_CHANGES: i32 = 2;

/// A fault: how it comes, what must be said of it, and how it goes.
struct Fault {
    what: &'static str,
    /// Nothing where the fault was there from the start, behind the one before.
    cause: fn(&mut Scene),
    said: &'static [(Place, &'static [&'static str])],
    /// What must still hold meanwhile.
    meanwhile: fn(&mut Scene),
    cure: fn(&mut Scene),
    /// Whether the next fault is already there behind it; otherwise everything is well after the cure.
    hides_another: bool,
}

impl Fault {
    /// Provokes it, waits until it is said, cures it, waits until it is gone.
    fn live_through(&self, scene: &mut Scene) {
        let started = Instant::now();
        (self.cause)(scene);
        let caused = Instant::now();
        for (place, words) in self.said {
            let what = format!("{}: {place:?} says {words:?}", self.what);
            let is_said = |text: &String| words.iter().all(|word| text.contains(word));
            let left = SAID_WITHIN.saturating_sub(caused.elapsed());
            let text = until(&what, left, || scene.said(*place), is_said);
            println!("{} ({place:?}): {text}", self.what);
        }
        let said = caused.elapsed();
        (self.meanwhile)(scene);
        (self.cure)(scene);
        let cured = Instant::now();
        let says_so = |scene: &Scene| {
            self.said.iter().any(|(place, words)| {
                let text = scene.said(*place);
                words.iter().all(|word| text.contains(word))
            })
        };
        until(
            &format!("{} is no longer said", self.what),
            HEALED_WITHIN,
            || says_so(scene),
            |says_so| !says_so,
        );
        if !self.hides_another {
            let left = HEALED_WITHIN.saturating_sub(cured.elapsed());
            until(
                &format!("well after {}", self.what),
                left,
                || scene.run.status(),
                |status| status["ready"] == true,
            );
            scene.rows_arrive();
        }
        let (prepared, healed) = (caused - started, cured.elapsed());
        println!("{}: caused in {prepared:.1?}, said in {said:.1?}, healed in {healed:.1?}\n", self.what);
    }
}

/// A server that doesn't write what change capture needs, and a Pipeline whose topic somebody else has made.
fn prepare() -> SmallPipeline {
    let pipeline = SmallPipeline::new(&Stack::up(), "faults");
    pipeline.postgres.open_as_superuser().run("ALTER SYSTEM SET wal_level = replica");
    pipeline.postgres.restart();
    pipeline.put_right_secret("dwh");
    pipeline.write_manifest(&pipeline.manifest());
    pipeline
}

/// `acequia plan` on what isn't there yet says what would be made, and makes none of it.
fn plan_changes_nothing(pipeline: &SmallPipeline) {
    let before = Outside::of(pipeline);
    let (code, text) = pipeline.plan(&pipeline.manifest());
    assert_eq!(code, PLAN_CHANGES, "{text}");
    let create = format!("change   create topic {} (2 partitions)", pipeline.topic());
    let later = format!("later    connector {} waits for", pipeline.connector());
    assert!(text.contains(&create) && text.contains(&later) && text.contains("runs     sink-dwh"), "{text}");
    assert_eq!(Outside::of(pipeline), before);
}

/// The same on what is there.
fn plan_of_an_edit_changes_nothing(scene: &mut Scene) {
    let (code, text) = scene.pipeline.plan(&scene.pipeline.manifest());
    assert!(code == PLAN_NOTHING && text.contains("nothing to change outside"), "{code}: {text}");
    scene.remember();
    let grown = "partitions: 3, allowRekey: true, config: {retention.ms: 60000}}";
    let (code, text) = scene.pipeline.plan(&scene.pipeline.manifest().replace("partitions: 2}", grown));
    assert_eq!(code, PLAN_CHANGES, "{text}");
    let topic = scene.pipeline.topic();
    let adds = text.contains(&format!("change   add partitions to topic {topic}: 2 become 3"));
    assert!(
        adds && text.contains(&format!("change   configure topic {topic}: set retention.ms=60000")),
        "{text}"
    );
    scene.runs_on_unchanged();
}

#[test]
fn faults_are_said_with_their_cure_and_heal_by_themselves() {
    let pipeline = prepare();
    plan_changes_nothing(&pipeline);
    pipeline.stack.create_topic(&pipeline.topic(), 2);
    let run = pipeline.run(&[]);
    let mut scene = Scene { pipeline, run, orders: 0, before: None };
    for fault in AT_THE_START.iter().chain(&OF_THE_MANIFEST) {
        fault.live_through(&mut scene);
    }
    plan_of_an_edit_changes_nothing(&mut scene);
    for fault in &OF_SERVERS {
        fault.live_through(&mut scene);
    }
    assert!(scene.is_ready());
    assert!(scene.run.process.stop().success());
    scene.pipeline.delete();
    let left = Outside::of(&scene.pipeline);
    assert!(!format!("{left:?}").contains(scene.pipeline.name()), "{left:?}");
}
