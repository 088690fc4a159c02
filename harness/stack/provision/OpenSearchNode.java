import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.opensearch.common.settings.Settings;
import org.opensearch.core.common.transport.TransportAddress;
import org.opensearch.env.Environment;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;

/**
 * One OpenSearch node out of plain jars.
 *
 * <p>{@code OpenSearchNode HOME key=value …}: HOME is an absolute folder, the keys are those of opensearch.yml; a list is
 * written with commas. It runs until SIGTERM. {@code OpenSearchNode --rehearse HOME} starts a node, asks it what a node is
 * asked, and ends: which classes that loads is recorded for faster starts.
 */
public final class OpenSearchNode extends Node {
    private static final String[] PLUGINS = {
        "org.opensearch.transport.Netty4Plugin",
        "org.opensearch.analysis.common.CommonAnalysisPlugin",
        "org.opensearch.ingest.common.IngestCommonPlugin",
        "org.opensearch.ingest.useragent.IngestUserAgentPlugin",
        "org.opensearch.painless.PainlessPlugin",
        "org.opensearch.script.mustache.MustachePlugin",
        "org.opensearch.index.reindex.ReindexPlugin",
        "org.opensearch.index.mapper.MapperExtrasPlugin",
        "org.opensearch.search.aggregations.matrix.MatrixAggregationPlugin",
    };

    private OpenSearchNode(Environment environment, List<Class<? extends Plugin>> plugins) {
        super(environment, plugins, true);
    }

    public static void main(String[] args) throws Exception {
        boolean rehearsal = args.length == 2 && args[0].equals("--rehearse");
        if (args.length == 0 || !rehearsal && !Path.of(args[0]).isAbsolute()) {
            refuse("usage: OpenSearchNode HOME key=value ... (HOME is an absolute folder)");
        }
        Path home = Path.of(args[rehearsal ? 1 : 0]).toAbsolutePath();
        Settings.Builder settings = Settings.builder()
            .put("path.home", home)
            .put("path.data", home.resolve("data"))
            .put("path.logs", home.resolve("logs"))
            .putList("path.repo", home.resolve("repo").toString())
            .put("cluster.name", "tocsin")
            .put("node.name", "node")
            .put("network.host", "127.0.0.1")
            .put("discovery.type", "single-node")
            .put("http.type", "netty4")
            .put("transport.type", "netty4")
            .put("http.port", "0")
            .put("transport.port", "0");
        for (String pair : rehearsal ? List.<String>of() : Arrays.asList(args).subList(1, args.length)) {
            int at = pair.indexOf('=');
            if (at < 1) {
                refuse("'" + pair + "' is not a setting; expected key=value");
            }
            settings.put(pair.substring(0, at), pair.substring(at + 1));
        }
        Files.createDirectories(home.resolve("config"));
        Node node = null;
        try {
            node = start(settings.build());
        } catch (Throwable failure) {
            for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
                System.err.println("OpenSearch does not start: " + cause);
            }
            System.exit(1);
        }
        if (rehearsal) {
            rehearse(node);
            node.close();
            System.exit(0);
        }
        Node running = node;
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(running)));
        System.out.println("STARTED");
        new CountDownLatch(1).await();
    }

    private static void refuse(String sentence) {
        System.err.println(sentence);
        System.exit(2);
    }

    private static Node start(Settings settings) throws Exception {
        List<Class<? extends Plugin>> plugins = new ArrayList<>();
        for (String name : PLUGINS) {
            plugins.add(Class.forName(name).asSubclass(Plugin.class));
        }
        String name = settings.get("node.name");
        Node node = new OpenSearchNode(
            InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> name), plugins);
        node.start();
        return node;
    }

    private static void close(Node node) {
        try {
            node.close();
        } catch (Exception failure) {
            System.err.println("OpenSearch did not close well: " + failure);
        }
    }

    private static void rehearse(Node node) throws Exception {
        TransportAddress bound =
            node.injector().getInstance(HttpServerTransport.class).boundAddress().publishAddress();
        InetSocketAddress address = bound.address();
        String[][] questions = {
            {"GET", "/", ""},
            {"PUT", "/_ingest/pipeline/p", "{\"processors\":[{\"grok\":{\"field\":\"message\",\"patterns\":[\"%{WORD:word}\"],"
                + "\"ignore_failure\":true}},{\"date\":{\"field\":\"when\",\"formats\":[\"ISO8601\"],\"ignore_failure\":true}},"
                + "{\"user_agent\":{\"field\":\"agent\",\"ignore_missing\":true}},{\"set\":{\"field\":\"event.ingested\","
                + "\"value\":\"{{_ingest.timestamp}}\"}},{\"script\":{\"source\":\"ctx.seen = 1\"}}]}"},
            {"PUT", "/_index_template/t", "{\"index_patterns\":[\"rehearsal-*\"],\"template\":{\"settings\":{"
                + "\"number_of_replicas\":0,\"default_pipeline\":\"p\"},\"mappings\":{\"properties\":{"
                + "\"level\":{\"type\":\"keyword\"},\"when\":{\"type\":\"date\"}}}}}"},
            {"POST", "/_bulk?refresh=true", "{\"index\":{\"_index\":\"rehearsal-1\",\"_id\":\"1\"}}\n"
                + "{\"message\":\"hello world\",\"level\":\"ERROR\",\"when\":\"2026-01-01T00:00:00Z\",\"took\":1.5}\n"},
            {"POST", "/rehearsal-*/_search", "{\"query\":{\"bool\":{\"filter\":[{\"term\":{\"level\":\"ERROR\"}},"
                + "{\"range\":{\"when\":{\"gte\":\"2025-01-01\"}}}],\"must\":[{\"match\":{\"message\":\"hello\"}}]}},"
                + "\"sort\":[{\"when\":\"desc\"}],\"aggs\":{\"over\":{\"date_histogram\":{\"field\":\"when\","
                + "\"calendar_interval\":\"day\"}},\"p\":{\"percentiles\":{\"field\":\"took\"}}}}"},
            {"GET", "/_cluster/health", ""},
        };
        for (String[] question : questions) {
            URI target = new URI("http", null, address.getHostString(), address.getPort(),
                question[1].split("\\?")[0], question[1].contains("?") ? question[1].split("\\?")[1] : null, null);
            HttpURLConnection connection = (HttpURLConnection) target.toURL().openConnection();
            connection.setRequestMethod(question[0]);
            if (!question[2].isEmpty()) {
                connection.setDoOutput(true);
                connection.setRequestProperty("Content-Type",
                    question[1].startsWith("/_bulk") ? "application/x-ndjson" : "application/json");
                connection.getOutputStream().write(question[2].getBytes(StandardCharsets.UTF_8));
            }
            if (connection.getResponseCode() >= 300) {
                System.err.println("rehearsal: " + question[1] + " answered " + connection.getResponseCode() + " "
                    + new String(connection.getErrorStream().readAllBytes(), StandardCharsets.UTF_8));
                System.exit(1);
            }
            try (InputStream answer = connection.getInputStream()) {
                answer.readAllBytes();
            }
        }
    }
}
