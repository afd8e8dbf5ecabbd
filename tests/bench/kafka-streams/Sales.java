import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindowedKStream;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowBytesStoreSupplier;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Count and sum per category in tumbling windows of 30 s, as JSON documents.
 *
 * @param from the topic of events
 * @param to the topic of results
 * @param grace how long after its end a window still takes events
 * @param onClose each result once, when its window takes no more events; otherwise whenever one has changed since the
 *     last commit
 * @param onDisk the windows live in RocksDB instead of memory
 */
record Sales(String from, String to, Duration grace, boolean onClose, boolean onDisk) {
    private static final Duration WINDOW = Duration.ofSeconds(30);

    /** Number of events, and sum of their amounts in cents: exact, and quicker than {@code BigDecimal}. */
    private record Total(long count, long cents) {
        static final Total NONE = new Total(0, 0);

        Total add(long more) {
            return new Total(count + 1, cents + more);
        }

        static byte[] write(String topic, Total total) {
            return total == null ? null : ByteBuffer.allocate(16).putLong(total.count).putLong(total.cents).array();
        }

        static Total read(String topic, byte[] bytes) {
            if (bytes == null) {
                return null;
            }
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            return new Total(buffer.getLong(), buffer.getLong());
        }
    }

    Topology topology(Properties settings) {
        StreamsBuilder builder = new StreamsBuilder();
        Serde<Event> events = Serdes.serdeFrom((topic, event) -> null, Event::read);
        Serde<Total> totals = Serdes.serdeFrom(Total::write, Total::read);
        TimeWindowedKStream<String, Long> windows = builder
            .stream(from, Consumed.with(Serdes.ByteArray(), events)
                .withTimestampExtractor((record, before) -> ((Event) record.value()).timeMs()))
            .map((customer, event) -> KeyValue.pair(event.category(), event.cents()))
            .groupByKey(Grouped.with("by-category", Serdes.String(), Serdes.Long()))
            .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, grace));
        if (onClose) {
            windows = windows.emitStrategy(EmitStrategy.onWindowClose());
        }
        Materialized<String, Total, WindowStore<Bytes, byte[]>> store = Materialized.<String, Total>as(store())
            .withKeySerde(Serdes.String())
            .withValueSerde(totals)
            .withCachingEnabled();
        windows.aggregate(() -> Total.NONE, (category, cents, total) -> total.add(cents), store)
            .toStream()
            .map((key, total) -> KeyValue.pair(key.key() + "@" + key.window().start(), document(key, total)))
            .to(to, Produced.with(Serdes.String(), Serdes.String()));
        return builder.build(settings);
    }

    private WindowBytesStoreSupplier store() {
        Duration retention = WINDOW.plus(grace);
        return onDisk
            ? Stores.persistentWindowStore("sales", retention, WINDOW, false)
            : Stores.inMemoryWindowStore("sales", retention, WINDOW, false);
    }

    private static String document(Windowed<String> key, Total total) {
        long cents = total.cents % 100;
        return new StringBuilder(160)
            .append("{\"window\":{\"start\":").append(key.window().start())
            .append(",\"end\":").append(key.window().end())
            .append("},\"groups\":{\"category\":\"").append(key.key())
            .append("\"},\"measures\":{\"orders\":").append(total.count)
            .append(",\"revenue\":").append(total.cents / 100).append(cents < 10 ? ".0" : ".").append(cents)
            .append("}}")
            .toString();
    }
}
