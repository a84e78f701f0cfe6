"""Talks to MongoDB as an application does, and prints each command as the driver saw it: a JSON object a line."""

import datetime
import json
import sys

import bson
import pymongo
from bson import json_util
from pymongo import monitoring


class Log(monitoring.CommandListener):
    def __init__(self):
        self.commands = {}

    def started(self, e):
        command = json_util.dumps(e.command, json_options=json_util.RELAXED_JSON_OPTIONS)
        self.commands[e.request_id] = {"database": e.database_name, "name": e.command_name, "command": json.loads(command)}

    def succeeded(self, e):
        self.done(e, e.reply)

    def failed(self, e):
        self.done(e, e.failure)

    def done(self, e, reply):
        errors = reply.get("writeErrors") or [{}]
        cursor = reply.get("cursor") or {}
        print(json.dumps(dict(
            self.commands[e.request_id],
            error=reply.get("errmsg") or errors[0].get("errmsg") or "",
            rows=len(cursor.get("firstBatch", cursor.get("nextBatch", []))),
            cursor=int(cursor.get("id", 0)),
            changed=int(reply.get("nModified", reply.get("n", 0))),
        )))


c = pymongo.MongoClient("mongodb://127.0.0.1:%s/" % sys.argv[1], event_listeners=[Log()])
users = c.shop.users
users.insert_one({"_id": 1, "name": "bob", "age": 42, "since": datetime.datetime(2020, 5, 17, 12, 30), "rate": 2.5, "tags": ["a", "b"]})
users.insert_one({"_id": bson.ObjectId("0123456789abcdef01234567"), "big": 1 << 40, "none": None, "bytes": b"abc", "price": bson.Decimal128("12.50")})
users.insert_many([{"_id": i, "name": "user %d" % i, "age": i % 70, "text": "x" * 300} for i in range(2, 3000)])
users.insert_many([{"name": "ü%d" % i, "deep": {"er": [{"and": i}]}} for i in range(20)])
assert users.count_documents({"age": {"$gt": 30}}) > 1000
assert len(list(users.find({"age": {"$gt": 30}}, {"name": 1}, batch_size=200).sort("name", 1))) > 1000
assert len(list(users.find({"age": 5}, skip=2, limit=3))) == 3
assert users.find_one({"name": "nobody"}) is None
assert users.update_many({"age": 42}, {"$set": {"seen": True}}).modified_count == 44
users.find_one_and_update({"_id": 1}, {"$inc": {"age": 1}})
users.distinct("age")
list(users.aggregate([{"$group": {"_id": "$age", "n": {"$sum": 1}}}, {"$limit": 3}]))
for wrong in (lambda: users.insert_one({"_id": 1}), lambda: c.shop.command("nonsense")):
    try:
        wrong()
        sys.exit("no error")
    except pymongo.errors.OperationFailure:
        pass
assert users.delete_many({"age": {"$lt": 10}}).deleted_count > 100
c.list_database_names()
c.close()
