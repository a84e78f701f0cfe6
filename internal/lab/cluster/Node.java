import org.codelibs.opensearch.runner.OpenSearchRunner;

// Runs one node of OpenSearch in the folder that is the first argument, with the settings that are the others: NAME=VALUE,
// where a value with commas is a list. It ends with its standard input, so that it doesn't outlive who started it.
public class Node {
	public static void main(String[] arguments) throws Exception {
		var runner = new OpenSearchRunner();
		runner.setMaxHttpPort(65535);
		runner.onBuild((number, settings) -> {
			for (int i = 1; i < arguments.length; i++) {
				var setting = arguments[i].split("=", 2);
				if (setting[1].contains(",")) {
					settings.putList(setting[0], setting[1].split(","));
				} else {
					settings.put(setting[0], setting[1]);
				}
			}
		});
		runner.build(OpenSearchRunner.newConfigs().basePath(arguments[0]).numOfNode(1).baseHttpPort(40000).useLogger());
		while (System.in.read() >= 0) {
		}
		Runtime.getRuntime().halt(0);
	}
}
