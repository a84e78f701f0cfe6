import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;

/** Serves an empty database on a port of the loopback interface until its standard input ends. */
public class Server {
	public static void main(String[] args) throws Exception {
		MongoServer server = new MongoServer(new MemoryBackend());
		server.bind("127.0.0.1", Integer.parseInt(args[0]));
		while (System.in.read() >= 0) {
		}
		server.shutdownNow();
	}
}
