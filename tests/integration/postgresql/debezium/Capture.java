// The Debezium Engine beside ours: writes each change as a line of JSON, until its standard input ends.
//
// Arguments: a file of properties, and where the lines go, or "-" to make them and write them to nowhere; then numbers:
// when so many changes have come, it says so, and when that was.

import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.io.FileReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

public final class Capture {
    private static final ArrayDeque<Long> marks = new ArrayDeque<>();
    private static long counted = 0;

    private Capture() {}

    public static void main(String[] arguments) throws Exception {
        for (int number = 2; number < arguments.length; number++) {
            marks.add(Long.parseLong(arguments[number]));
        }
        Properties properties = new Properties();
        try (FileReader reader = new FileReader(arguments[0])) {
            properties.load(reader);
        }
        Writer out = arguments[1].equals("-") ? Writer.nullWriter() : Files.newBufferedWriter(Path.of(arguments[1]));
        DebeziumEngine<ChangeEvent<String, String>> engine = DebeziumEngine.create(Json.class)
            .using(properties)
            .using((success, message, error) -> {
                if (!success) {
                    System.err.println(message);
                    if (error != null) {
                        error.printStackTrace();
                    }
                    System.exit(1);
                }
            })
            .notifying((records, committer) -> {
                try {
                    write(records, out);
                } catch (IOException error) {
                    throw new UncheckedIOException(error);
                }
                for (ChangeEvent<String, String> record : records) {
                    committer.markProcessed(record);
                }
                committer.markBatchFinished();
            })
            .build();
        ExecutorService executor = Executors.newSingleThreadExecutor();
        executor.execute(engine);
        System.in.read();
        engine.close();
        executor.shutdown();
        out.close();
        System.exit(0);
    }

    private static void write(List<ChangeEvent<String, String>> records, Writer out) throws IOException {
        for (ChangeEvent<String, String> record : records) {
            if (!record.destination().endsWith(".transaction")) {
                counted++;
            }
            out.write("{\"destination\":\"" + record.destination() + "\",\"key\":" + record.key() + ",\"value\":"
                + record.value() + "}\n");
        }
        out.flush();
        while (!marks.isEmpty() && counted >= marks.peek()) {
            System.out.println(marks.remove() + " " + System.currentTimeMillis() / 1000.0);
            System.out.flush();
        }
    }
}
