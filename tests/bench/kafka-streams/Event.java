import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.LocalDate;

/**
 * What the windows need of an event, read in one pass without a tree.
 *
 * @param category what it is counted under
 * @param cents {@code total_amount} in cents
 * @param timeMs {@code timestamp} in milliseconds since 1970
 */
record Event(String category, long cents, long timeMs) {
    private static final JsonFactory JSON = new JsonFactory();
    private static final long DAY_MS = 86_400_000;

    /** The latest date that was read, and its first millisecond: events of one day follow each other. */
    private static volatile Day day = new Day(1970, 1, 1, 0);

    private record Day(int year, int month, int date, long startMs) {}

    static Event read(String topic, byte[] bytes) {
        String category = null;
        long cents = 0;
        long timeMs = 0;
        try (JsonParser json = JSON.createParser(bytes)) {
            json.nextToken();
            for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
                JsonToken value = json.nextToken();
                switch (name) {
                    case "category" -> category = json.getText();
                    case "total_amount" -> cents = cents(json.getTextCharacters(), json.getTextOffset(), json.getTextLength());
                    case "timestamp" -> timeMs = time(json.getTextCharacters(), json.getTextOffset());
                    default -> {
                        if (value.isStructStart()) {
                            json.skipChildren();
                        }
                    }
                }
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return new Event(category, cents, timeMs);
    }

    /** {@code 123.45} exactly; a number of another shape is refused rather than rounded. */
    private static long cents(char[] text, int from, int length) {
        long number = 0;
        int decimals = -1;
        for (int i = from; i < from + length; i++) {
            if (text[i] == '.') {
                decimals = 0;
            } else {
                number = number * 10 + digit(text[i]);
                decimals += decimals < 0 ? 0 : 1;
            }
        }
        return switch (decimals) {
            case -1, 0 -> number * 100;
            case 1 -> number * 10;
            case 2 -> number;
            default -> throw new NumberFormatException(new String(text, from, length) + " has more than two decimals");
        };
    }

    /** {@code 2026-01-01T12:00:00.000Z}. */
    private static long time(char[] text, int from) {
        int year = number(text, from, 4);
        int month = number(text, from + 5, 2);
        int date = number(text, from + 8, 2);
        Day known = day;
        if (known.date != date || known.month != month || known.year != year) {
            known = new Day(year, month, date, LocalDate.of(year, month, date).toEpochDay() * DAY_MS);
            day = known;
        }
        int minutes = number(text, from + 11, 2) * 60 + number(text, from + 14, 2);
        return known.startMs + minutes * 60_000L + number(text, from + 17, 2) * 1000L + number(text, from + 20, 3);
    }

    private static int number(char[] text, int from, int digits) {
        int number = 0;
        for (int i = from; i < from + digits; i++) {
            number = number * 10 + digit(text[i]);
        }
        return number;
    }

    private static int digit(char text) {
        int digit = text - '0';
        if (digit < 0 || digit > 9) {
            throw new NumberFormatException("not a digit: " + text);
        }
        return digit;
    }
}
