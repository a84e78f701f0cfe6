package redis

// effect says what a command does to the connection, as far as that matters here.
type effect uint8

const (
	noEffect effect = iota
	// unpaired is that of a command beyond the limit, whose reply is passed over; see Parser.head.
	unpaired
	selects
	authenticates
	greets
	begins
	executes
	discards
	subscribes
	monitors
	synchronises
	resets
	setsReply
	replicates
	// reads: a nil is a miss.
	reads
)

// blocking says when the reply to a command waits for an event.
type blocking uint8

const (
	neverBlocks blocking = iota
	blocks
	// mayBlock: it does with the option BLOCK.
	mayBlock
)

// secrecy says which arguments of a command are secret.
type secrecy uint8

const (
	_ secrecy = iota
	// lastSecret: the last one.
	lastSecret
	// afterUser: the second after AUTH.
	afterUser
	// afterAuth: the one after AUTH, the second after AUTH2.
	afterAuth
	// valueSecret: the one after a name that has to do with passwords.
	valueSecret
	// ruleSecret: the rules that begin with >, <, # or !.
	ruleSecret
)

// command is what matters of a command. container: its second word belongs to its name.
type command struct {
	container bool
	blocks    blocking
	secret    secrecy
	effect    effect
	// kind is the kind of a subscription; ends: the command ends it.
	kind uint8
	ends bool
}

// commands are the commands of which something matters, by their names in upper case
// (https://redis.io/docs/latest/commands/).
var commands = map[string]command{
	"ACL": {container: true}, "CLIENT": {container: true}, "CLUSTER": {container: true}, "COMMAND": {container: true},
	"CONFIG": {container: true}, "DEBUG": {container: true}, "FUNCTION": {container: true}, "LATENCY": {container: true},
	"MEMORY": {container: true}, "MODULE": {container: true}, "OBJECT": {container: true}, "PUBSUB": {container: true},
	"SCRIPT": {container: true}, "SENTINEL": {container: true}, "SLOWLOG": {container: true}, "XGROUP": {container: true},
	"XINFO": {container: true},

	"BLPOP": {blocks: blocks}, "BRPOP": {blocks: blocks}, "BRPOPLPUSH": {blocks: blocks}, "BLMOVE": {blocks: blocks},
	"BLMPOP": {blocks: blocks}, "BZPOPMIN": {blocks: blocks}, "BZPOPMAX": {blocks: blocks}, "BZMPOP": {blocks: blocks},
	"WAIT": {blocks: blocks}, "WAITAOF": {blocks: blocks},
	"XREAD": {blocks: mayBlock}, "XREADGROUP": {blocks: mayBlock},

	"SELECT": {effect: selects}, "MULTI": {effect: begins}, "EXEC": {effect: executes}, "DISCARD": {effect: discards},
	"RESET": {effect: resets},

	"AUTH": {secret: lastSecret, effect: authenticates}, "HELLO": {secret: afterUser, effect: greets},
	"MIGRATE": {secret: afterAuth}, "CONFIG SET": {secret: valueSecret}, "SENTINEL SET": {secret: valueSecret},
	"SENTINEL CONFIG": {secret: valueSecret}, "ACL SETUSER": {secret: ruleSecret},

	"SUBSCRIBE": {effect: subscribes}, "PSUBSCRIBE": {effect: subscribes, kind: 1}, "SSUBSCRIBE": {effect: subscribes, kind: 2},
	"UNSUBSCRIBE": {effect: subscribes, ends: true}, "PUNSUBSCRIBE": {effect: subscribes, kind: 1, ends: true},
	"SUNSUBSCRIBE": {effect: subscribes, kind: 2, ends: true},
	"MONITOR":      {effect: monitors},
	"CLIENT REPLY": {effect: setsReply},
	"PSYNC":        {blocks: blocks, effect: synchronises}, "SYNC": {blocks: blocks, effect: synchronises},
	"REPLCONF": {effect: replicates},

	"GET": {effect: reads}, "GETEX": {effect: reads}, "GETDEL": {effect: reads}, "MGET": {effect: reads},
	"HGET": {effect: reads}, "HMGET": {effect: reads}, "JSON.GET": {effect: reads}, "JSON.MGET": {effect: reads},
}

// kinds is how many kinds of subscription there are: to channels, patterns and sharded channels.
const kinds = 3

// confirmations are the first words of the replies that confirm a subscription, or its end, one for each channel.
var confirmations = map[string]struct {
	kind uint8
	ends bool
}{
	"subscribe": {0, false}, "psubscribe": {1, false}, "ssubscribe": {2, false},
	"unsubscribe": {0, true}, "punsubscribe": {1, true}, "sunsubscribe": {2, true},
}

// pushes are what servers send unasked, by its first word, and which word behind it says what it is about.
var pushes = map[string]int{
	"message": 1, "smessage": 1, "pmessage": 2,
	"subscribe": 1, "psubscribe": 1, "ssubscribe": 1, "unsubscribe": 1, "punsubscribe": 1, "sunsubscribe": 1,
	"invalidate": 1,
}

// maxPush is the length of the longest word in pushes and confirmations.
const maxPush = len("punsubscribe")
