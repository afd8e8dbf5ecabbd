import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/**
 * The peer of {@code make bench-aggregations}: Kafka Streams in one JVM that stays, so that it is warm when it is measured.
 *
 * <p>It takes orders from standard input, one a line, words as {@code name=value}, and answers each on standard output:
 * {@code peer: started}, {@code peer: stopped}, or {@code peer: failed ...}. It ends with its input.
 *
 * <pre>
 * start application=A from=TOPIC to=TOPIC grace_ms=N emit=update|close store=memory|rocksdb [any setting of Kafka Streams]
 * stop
 * </pre>
 */
public final class Main {
    /** The events are months old, and the broker would soon delete what is kept of their windows. */
    private static final Duration CHANGELOG_RETENTION = Duration.ofDays(3650);
    private static final Duration CLOSE_DEADLINE = Duration.ofSeconds(60);

    private final String servers;
    private final String stateFolder;
    private KafkaStreams streams;

    private Main(String servers, String stateFolder) {
        this.servers = servers;
        this.stateFolder = stateFolder;
    }

    /** Arguments: bootstrap servers, folder for state. */
    public static void main(String[] arguments) throws Exception {
        Main main = new Main(arguments[0], arguments[1]);
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = orders.readLine(); line != null; line = orders.readLine()) {
            try {
                main.obey(line);
            } catch (RuntimeException error) {
                answer("failed " + error);
            }
        }
        if (main.streams != null) {
            main.stop();
        }
    }

    private void obey(String line) {
        Map<String, String> order = new HashMap<>();
        String[] words = line.split(" ");
        for (int i = 1; i < words.length; i++) {
            String[] pair = words[i].split("=", 2);
            order.put(pair[0], pair[1]);
        }
        switch (words[0]) {
            case "start" -> start(order);
            case "stop" -> stop();
            default -> throw new IllegalArgumentException("no such order: " + line);
        }
    }

    private void start(Map<String, String> order) {
        Sales sales = new Sales(
            order.remove("from"),
            order.remove("to"),
            Duration.ofMillis(Long.parseLong(order.remove("grace_ms"))),
            order.remove("emit").equals("close"),
            order.remove("store").equals("rocksdb"));
        Properties settings = settings(order.remove("application"));
        settings.putAll(order);
        streams = new KafkaStreams(sales.topology(settings), settings);
        streams.setUncaughtExceptionHandler(error -> {
            answer("failed " + error);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        answer("started");
    }

    private void stop() {
        boolean closed = streams.close(CLOSE_DEADLINE);
        streams.cleanUp();
        streams = null;
        answer(closed ? "stopped" : "failed to stop within " + CLOSE_DEADLINE);
    }

    /** What it was measured to be fastest with; see docs/benchmarks.md. */
    private Properties settings(String application) {
        Properties settings = new Properties();
        settings.put("application.id", application);
        settings.put("bootstrap.servers", servers);
        settings.put("state.dir", stateFolder);
        settings.put("processing.guarantee", "exactly_once_v2");
        settings.put("replication.factor", "1");
        settings.put("num.stream.threads", "2");
        settings.put("commit.interval.ms", "100");
        settings.put("statestore.cache.max.bytes", String.valueOf(64 << 20));
        settings.put("windowstore.changelog.additional.retention.ms", String.valueOf(CHANGELOG_RETENTION.toMillis()));
        settings.put("topology.optimization", "all");
        settings.put("buffered.records.per.partition", "10000");
        settings.put("auto.offset.reset", "earliest");
        settings.put("max.poll.records", "5000");
        settings.put("consumer.max.partition.fetch.bytes", String.valueOf(8 << 20));
        settings.put("consumer.fetch.max.bytes", String.valueOf(32 << 20));
        settings.put("producer.compression.type", "lz4");
        settings.put("producer.linger.ms", "20");
        settings.put("producer.batch.size", String.valueOf(128 << 10));
        return settings;
    }

    private static synchronized void answer(String words) {
        System.out.println("peer: " + words);
        System.out.flush();
    }
}
