//! The faults: how each comes, what must be said of it, and how it goes.

use std::path::PathBuf;
use std::process::Command;

use acequia_tests::stack::root;

use crate::scene::{Place, Scene};
use crate::{Fault, PLAN_REFUSED};

const NOTHING: fn(&mut Scene) = |_| {};

/// The faults that a Pipeline may meet before its first row, each hidden by the one before.
pub const AT_THE_START: [Fault; 6] = [
    Fault {
        what: "a topic that isn't ours",
        cause: NOTHING,
        said: &[
            (
                Place::Refused,
                &["spec.topics[0].name", "isn't recorded as created by this Pipeline", "`adopt: true`"],
            ),
            (Place::Connector, &["which is refused"]),
        ],
        meanwhile: |scene| {
            let (code, text) = scene.pipeline.plan(&scene.pipeline.manifest());
            assert!(code == PLAN_REFUSED && text.contains("refused  spec.topics[0].name"), "{code}: {text}");
        },
        cure: |scene| scene.edit(|text| text.replace("partitions: 2}", "partitions: 2, external: true}")),
        hides_another: true,
    },
    Fault {
        what: "a missing secret",
        cause: NOTHING,
        said: &[
            (
                Place::Connector,
                &["Kafka Connect can't resolve ${dir:", "with the keys username and password"],
            ),
            (Place::Sink, &["has no readable key `username`", "create the file username"]),
        ],
        meanwhile: NOTHING,
        cure: |scene| {
            scene.pipeline.put_right_secret("source");
            scene.pipeline.put_secret("source", "password", "not the password");
        },
        hides_another: true,
    },
    Fault {
        what: "a wrong password",
        cause: NOTHING,
        said: &[
            (Place::Connector, &["refuses name or password for database instashop", "credentialsSecret"]),
            (
                Place::Sink,
                &["/instashop: password authentication failed", "in the store's credentialsSecret"],
            ),
        ],
        meanwhile: NOTHING,
        cure: |scene| scene.pipeline.put_right_secret("source"),
        hides_another: true,
    },
    Fault {
        what: "a table that doesn't exist",
        cause: NOTHING,
        said: &[
            (Place::Connector, &["database instashop", "orders", "create"]),
            (Place::Sink, &["the source table public.orders isn't in database instashop; create it"]),
        ],
        meanwhile: NOTHING,
        cure: |scene| {
            let table = "CREATE TABLE orders (id bigint NOT NULL, note text, price numeric(12,2))";
            scene.pipeline.postgres.open("instashop").run(table);
        },
        hides_another: true,
    },
    Fault {
        what: "wal_level isn't logical",
        cause: NOTHING,
        said: &[(Place::Connector, &["PostgreSQL at 127.0.0.1", "set wal_level = logical and restart it"])],
        meanwhile: NOTHING,
        cure: |scene| {
            scene.pipeline.postgres.open_as_superuser().run("ALTER SYSTEM RESET wal_level");
            scene.pipeline.postgres.restart();
        },
        hides_another: true,
    },
    Fault {
        what: "a table without a primary key",
        cause: NOTHING,
        said: &[
            (Place::Connector, &["table public.orders has no primary key", "add a primary key"]),
            (Place::Sink, &["public.orders has no primary key", "ALTER TABLE"]),
        ],
        meanwhile: NOTHING,
        cure: |scene| {
            scene.pipeline.postgres.open("instashop").run("ALTER TABLE orders ADD PRIMARY KEY (id)");
        },
        hides_another: false,
    },
];

/// Faults of a manifest, while rows flow.
pub const OF_THE_MANIFEST: [Fault; 3] = [
    Fault {
        what: "an invalid edit",
        cause: |scene| {
            scene.remember();
            scene.edit(|text| text.replace("mode: mirror", "mode: miror"));
        },
        said: &[(
            Place::Manifest,
            &[
                "pipeline.yaml:16:",
                "spec.sinks[0].postgres.mode: `miror` is not known",
                "Did you mean `mirror`?",
            ],
        )],
        meanwhile: Scene::runs_on_unchanged,
        cure: |scene| scene.edit(|text| text.replace("partitions: 2}", "partitions: 2, adopt: true}")),
        hides_another: false,
    },
    Fault {
        what: "fewer partitions",
        cause: |scene| {
            scene.remember();
            scene.edit(|text| text.replace("partitions: 2}", "partitions: 1}"));
        },
        said: &[(
            Place::Refused,
            &[
                "spec.topics[0].partitions",
                "1 partitions instead of 2",
                "can't take partitions away",
                "partitions: 2",
            ],
        )],
        meanwhile: Scene::runs_on_unchanged,
        cure: |scene| scene.edit(str::to_owned),
        hides_another: false,
    },
    Fault {
        what: "a record that can't be decoded",
        cause: |scene| {
            scene.pipeline.stack.produce(&scene.pipeline.topic(), &[(1, None, Some(b"no event".to_vec()))]);
        },
        said: &[],
        meanwhile: |scene| {
            scene.rows_arrive();
            scene.one_dead_letter();
        },
        cure: NOTHING,
        hides_another: false,
    },
];

/// Servers that go away, while rows flow.
pub const OF_SERVERS: [Fault; 5] = [
    Fault {
        what: "a password that is changed to a wrong one",
        cause: |scene| {
            scene.pipeline.put_secret("source", "password", "not the password");
            scene.pipeline.put_secret("dwh", "password", "not the password");
            let mut server = scene.pipeline.postgres.open_as_superuser();
            server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('dwh', 'instashop')");
        },
        said: &[
            (Place::Connector, &["refuses name or password for database instashop", "credentialsSecret"]),
            (Place::Sink, &["/dwh_db: password authentication failed", "in the store's credentialsSecret"]),
        ],
        meanwhile: NOTHING,
        cure: |scene| {
            scene.pipeline.put_right_secret("dwh");
            scene.pipeline.put_right_secret("source");
        },
        hides_another: false,
    },
    Fault {
        what: "a database that is down",
        cause: |scene| scene.pipeline.postgres.kill(),
        said: &[
            (Place::Connector, &["PostgreSQL at 127.0.0.1:", "doesn't accept connections: start it"]),
            (Place::Sink, &["PostgreSQL at 127.0.0.1:", "refused", "check the store's host and port"]),
        ],
        meanwhile: NOTHING,
        cure: |scene| scene.pipeline.postgres.bring_up(),
        hides_another: false,
    },
    Fault {
        what: "Kafka Connect that is down",
        cause: |scene| scene.pipeline.stack.kill("connect"),
        said: &[(Place::Connector, &["Kafka Connect at http://127.0.0.1:", "can't be reached", "start it"])],
        meanwhile: NOTHING,
        // It comes back without its plug-ins.
        cure: |scene| {
            let properties = scene.pipeline.state().join("no-plug-ins.properties");
            let folder = scene.pipeline.stack.folder().join("lib/no-plug-ins");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&properties, format!("plugin.path={}\n", folder.display())).unwrap();
            start_connect(Some(properties));
        },
        hides_another: true,
    },
    Fault {
        what: "a missing plug-in",
        cause: NOTHING,
        said: &[(
            Place::Connector,
            &["has no class io.debezium.connector.postgresql.PostgresConnector", "install the plug-in"],
        )],
        meanwhile: NOTHING,
        cure: |scene| {
            scene.pipeline.stack.kill("connect");
            start_connect(None);
        },
        hides_another: false,
    },
    Fault {
        what: "Kafka that is down",
        cause: |scene| scene.pipeline.stack.kill("kafka"),
        said: &[
            (
                Place::Topics,
                &["Kafka at 127.0.0.1:", "can be reached; start one, or correct bootstrapServers"],
            ),
            (Place::Sink, &["no broker of 127.0.0.1:", "start one, or correct bootstrapServers"]),
        ],
        meanwhile: NOTHING,
        cure: |scene| scene.pipeline.stack.bring_back("kafka"),
        hides_another: false,
    },
];

/// Starts Kafka Connect with further properties.
fn start_connect(properties: Option<PathBuf>) {
    let mut command = Command::new(root().join("tests/stack/up"));
    command.arg("connect").envs(properties.map(|file| ("ACEQUIA_CONNECT_PROPERTIES", file)));
    let output = command.output().expect("the stack's script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
