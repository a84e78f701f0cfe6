"""Talks to memcached as applications do: pymemcache in the text protocol, pylibmc in the binary one."""

import sys

import pylibmc
from pymemcache.client.base import Client

host, port = sys.argv[1], int(sys.argv[2])

c = Client((host, port), default_noreply=False)
c.set("user:1", b"x" * 3000, expire=60)
c.set_many({"user:%d" % i: b"v%d" % i for i in range(2, 40)})
assert c.get_many(["user:%d" % i for i in range(1, 60)])["user:7"] == b"v7"
assert c.gets("user:2")[0] == b"v2"
assert c.add("user:2", b"no") is False
c.set("n", b"1")
assert c.incr("n", 41) == 42
assert c.delete("user:2") and not c.delete("user:2")
c.set("quiet", b"x", noreply=True)
c.touch("user:3", 10)
c.version()
c.stats()
c.quit()

b = pylibmc.Client(["%s:%d" % (host, port)], binary=True)
b.set("k", "v")
assert b.get("k") == "v" and b.get("nothing") is None
assert b.get_multi(["k", "nothing", "user:4", "neither"]).keys() == {"k", "user:4"}
assert not b.add("k", "v")
b.set("m", "40")
b.set("c", 1)
assert b.incr("c", 2) == 3 and b.decr("c") == 2
b.set_multi({"key%d" % i: "value" * i for i in range(50)})
assert len(b.get_multi(["key%d" % i for i in range(60)])) == 50
b.append("m", "2")
b.touch("m", 100)
assert b.delete("m") and not b.delete("m")
b.get_stats()
b.disconnect_all()

q = pylibmc.Client(["%s:%d" % (host, port)], binary=True, behaviors={"no_block": True, "buffer_requests": True})
for i in range(20):
    try:
        q.set("q%d" % i, "x" * i)
    except pylibmc.Error as e:  # 32: it is buffered, and will be sent as a quiet request
        assert "error 32" in str(e)
assert q.get("q19") == "x" * 19
q.disconnect_all()
