package blame

import (
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// answer is what an answer says of whose fault it was.
type answer uint8

const (
	noFault answer = iota
	clientFault
	serverFault
	requestTimeout
	gatewayTimeout
	badGateway
)

// statuses are the statuses of HTTP that say more than their hundred does.
var statuses = map[int]answer{408: requestTimeout, 502: badGateway, 504: gatewayTimeout}

// grpcStatuses are those of gRPC, by number (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md).
var grpcStatuses = [...]answer{
	0: noFault, 1: clientFault, 2: serverFault, 3: clientFault, 4: gatewayTimeout, 5: clientFault, 6: clientFault, 7: clientFault,
	8: serverFault, 9: clientFault, 10: serverFault, 11: clientFault, 12: serverFault, 13: serverFault, 14: serverFault, 15: serverFault,
	16: clientFault,
}

// serverCodes are the codes of errors, or the beginnings of them, that aren't about what was asked, by protocol; all others are.
var serverCodes = map[string]map[string]bool{
	// Classes of SQLSTATE: connection, rollback by contention, resources, limits, intervention, system, configuration, internal
	// (https://www.postgresql.org/docs/current/errcodes-appendix.html).
	"postgresql": {"08": true, "40": true, "53": true, "54": true, "57": true, "58": true, "F0": true, "XX": true},
	// Too many connections, out of memory or disk, shutdown, lock wait timeout, deadlock, statement timeout, read-only
	// (https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html).
	"mysql": {"1021": true, "1030": true, "1037": true, "1038": true, "1040": true, "1041": true, "1053": true, "1114": true, "1135": true, "1203": true, "1205": true,
		"1213": true, "1290": true, "1317": true, "1836": true, "1969": true, "3024": true},
	"redis": {"BUSY": true, "CLUSTERDOWN": true, "LOADING": true, "MASTERDOWN": true, "MISCONF": true, "NOREPLICAS": true, "OOM": true, "READONLY": true, "TRYAGAIN": true},
	// Words of the text protocol, and statuses of the binary one.
	"memcached": {"SERVER_ERROR": true, "0x82": true, "0x84": true, "0x85": true, "0x86": true},
	"mongodb": {"HostUnreachable": true, "HostNotFound": true, "NetworkTimeout": true, "MaxTimeMSExpired": true, "ShutdownInProgress": true, "PrimarySteppedDown": true,
		"NotWritablePrimary": true, "NotPrimaryNoSecondaryOk": true, "NotPrimaryOrSecondary": true, "InterruptedAtShutdown": true, "InterruptedDueToReplStateChange": true,
		"WriteConflict": true, "ExceededMemoryLimit": true, "OutOfDiskSpace": true, "LockTimeout": true, "InternalError": true},
	"dns": {"SERVFAIL": true, "REFUSED": true, "NOTIMP": true, "FORMERR": false},
}

// sqlStateClass is how much of a SQLSTATE names its class.
const sqlStateClass = 2

// verdictOfStatus returns what the answer says, noFault where it says none.
func (c *trial) verdictOfStatus() answer {
	x := c.x
	if !x.Failed() {
		return noFault
	}
	if x.Family == exchange.HTTP {
		if s := x.Response.Status; s >= 400 {
			if a, ok := statuses[s]; ok {
				return a
			}
			if s >= 500 {
				return serverFault
			}
			return clientFault
		}
		if code, ok := x.GRPCStatus(); ok && code < len(grpcStatuses) {
			return grpcStatuses[code]
		}
		return serverFault
	}
	code := x.Response.FactText(proto.FactError)
	if x.Family == exchange.Names {
		code = x.Response.FactText("rcode")
	}
	switch string(code) {
	case "MOVED", "ASK":
		return noFault // a cluster says where the key is
	}
	if x.Protocol == "postgresql" && len(code) > sqlStateClass {
		code = code[:sqlStateClass]
	}
	if serverCodes[x.Protocol][string(code)] {
		return serverFault
	}
	return clientFault
}
