"""What Logstash makes of records, by its own reference: filters, a record, and the record that must come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """Filters of a logstash.conf, what comes in, and what must come out."""

    name: str
    filters: str
    given: dict[str, Any]
    made: dict[str, Any]


APACHE = '127.0.0.1 - frank [10/Oct/2026:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326'

CASES = (
    Case("nothing", "", {"a": 1}, {"a": 1}),
    Case(
        "json",
        'json { source => "message" }',
        {"message": '{"a": {"b": 1}}'},
        {"message": '{"a": {"b": 1}}', "a": {"b": 1}},
    ),
    Case(
        "json, matched: decorated",
        'json { source => "message" remove_field => ["message"] add_tag => ["read"] }',
        {"message": '{"a": null}'},
        {"a": None, "tags": ["read"]},
    ),
    Case(
        "json, broken: tagged and not decorated",
        'json { source => "message" remove_field => ["message"] }',
        {"message": '{"a'},
        {"message": '{"a', "tags": ["_jsonparsefailure"]},
    ),
    Case("json, not there", 'json { source => "message" add_tag => ["read"] }', {"a": 1}, {"a": 1}),
    Case("json, target", 'json { source => "m" target => "[x][y]" }', {"m": "[1]"}, {"m": "[1]", "x": {"y": [1]}}),
    Case("json, quiet", 'json { source => "m" skip_on_invalid_json => true }', {"m": "{"}, {"m": "{"}),
    Case(
        "grok",
        r'grok { match => { "message" => "%{IPORHOST:[client][ip]} %{WORD:verb} %{NUMBER:bytes:int} (?<rest>.*)" } }',
        {"message": "10.0.0.1 GET 17 the rest"},
        {
            "message": "10.0.0.1 GET 17 the rest",
            "client": {"ip": "10.0.0.1"},
            "verb": "GET",
            "bytes": 17,
            "rest": "the rest",
        },
    ),
    Case(
        "grok, the second pattern, its own definition",
        'grok { match => { "message" => ["^%{INT:n:int}$", "%{QUEUE:q}"] } pattern_definitions => { '
        '"QUEUE" => "[0-9A-F]{4}" } }',
        {"message": "queue BEEF"},
        {"message": "queue BEEF", "q": "BEEF"},
    ),
    Case(
        "grok, no match",
        'grok { match => { "message" => "^%{INT:n}$" } add_field => { "never" => "x" } }',
        {"message": "x"},
        {"message": "x", "tags": ["_grokparsefailure"]},
    ),
    Case(
        "grok, not there",
        'grok { match => { "m" => "x" } tag_on_failure => ["no"] }',
        {"a": 1},
        {"a": 1, "tags": ["no"]},
    ),
    Case(
        "grok, overwrite",
        'grok { match => { "message" => "%{WORD}: %{GREEDYDATA:message}" } overwrite => ["message"] }',
        {"message": "kernel: it burns"},
        {"message": "it burns"},
    ),
    Case(
        "date, Joda's format",
        'grok { match => { "message" => "%{HTTPDATE:at}" } } date { match => ["at", '
        '"dd/MMM/YYYY:HH:mm:ss Z"] remove_field => ["at"] }',
        {"message": APACHE},
        {"message": APACHE, "@timestamp": "2026-10-10T20:55:36.000Z"},
    ),
    Case(
        "date, ISO8601 and a target",
        'date { match => ["t", "ISO8601"] target => "when" }',
        {"t": "2026-11-23T13:00:43.123+09:00"},
        {"t": "2026-11-23T13:00:43.123+09:00", "when": "2026-11-23T04:00:43.123Z"},
    ),
    Case(
        "date, seconds, then milliseconds",
        'date { match => ["s", "UNIX"] } date { match => ["ms", "UNIX_MS"] target => "b" }',
        {"s": 1700000000, "ms": "1700000000123"},
        {
            "s": 1700000000,
            "ms": "1700000000123",
            "@timestamp": "2023-11-14T22:13:20.000Z",
            "b": "2023-11-14T22:13:20.123Z",
        },
    ),
    Case(
        "date, a time zone",
        'date { match => ["t", "yyyy-MM-dd HH:mm:ss"] timezone => "Asia/Seoul" }',
        {"t": "2026-11-23 13:00:43"},
        {"t": "2026-11-23 13:00:43", "@timestamp": "2026-11-23T13:00:43.000+09:00"},
    ),
    Case(
        "date, no date",
        'date { match => ["t", "ISO8601"] add_tag => ["dated"] }',
        {"t": "yesterday"},
        {"t": "yesterday", "tags": ["_dateparsefailure"]},
    ),
    Case("date, not there", 'date { match => ["t", "ISO8601"] add_tag => ["dated"] }', {"a": 1}, {"a": 1}),
    Case(
        "mutate, in its own order",
        'mutate { uppercase => ["c"] add_field => { "d" => "%{b}" } rename => { "a" => "b" } copy => { '
        '"b" => "c2" } replace => { "c" => "is %{b}" } }',
        {"a": "x", "c": "old"},
        {"b": "x", "c": "IS X", "c2": "x", "d": "x"},
    ),
    Case("mutate, rename onto one that is there", 'mutate { rename => { "a" => "b" } }', {"a": 1, "b": 2}, {"b": 1}),
    Case("mutate, rename into itself", 'mutate { rename => { "a" => "[a][b]" } }', {"a": 1}, {"a": {"b": 1}}),
    Case("mutate, rename nothing", 'mutate { rename => { "a" => "b" } }', {"b": 2}, {"b": 2}),
    Case("mutate, update", 'mutate { update => { "a" => "1" "b" => "1" } }', {"a": "0"}, {"a": "1"}),
    Case(
        "mutate, convert",
        'mutate { convert => { "i" => "integer" "f" => "float" "s" => "string" "b" => "boolean" "l" => '
        '"integer" "no" => "integer" } }',
        {"i": "5000000000", "f": "1.5", "s": 7, "b": "true", "l": ["1", "2"]},
        {"i": 5000000000, "f": 1.5, "s": "7", "b": True, "l": [1, 2]},
    ),
    Case(
        "mutate, convert what is none",
        'mutate { convert => { "i" => "integer" } }',
        {"i": "x"},
        {"i": "x", "tags": ["_mutate_error"]},
    ),
    Case(
        "mutate, gsub",
        r'mutate { gsub => ["path", "/", "_", "q", "[\\?#-]", ".", "n", "(\w+)@(\w+)", "\2 at \1 for '
        r'$5", "lines", "^x", "y", "num", "1", "2"] }',
        {"path": "/a/b", "q": "a\\b?c#d-e", "n": "me@home", "lines": "x\nx", "num": 11},
        {"path": "_a_b", "q": "a.b.c.d.e", "n": "home at me for $5", "lines": "y\ny", "num": 11},
    ),
    Case(
        "mutate, letters and blanks",
        'mutate { lowercase => ["a", "no", "n"] uppercase => ["b"] strip => ["c"] }',
        {"a": "AbC", "b": ["x", "y"], "c": "  z \n", "n": 3},
        {"a": "abc", "b": ["X", "Y"], "c": "z", "n": 3},
    ),
    Case(
        "mutate, split and join",
        'mutate { split => { "a" => "." "w" => " " } join => { "b" => "-" "text" => "-" } }',
        {"a": "1.2..3", "w": " x  y ", "b": [1, "2"], "text": "t"},
        {"a": ["1", "2", "", "3"], "w": ["x", "y"], "b": "1-2", "text": "t"},
    ),
    Case(
        "fields added: new, to one, to a list",
        'mutate { add_field => { "new" => "%{n} of %{[o][p]}, %{[no][such]}" "one" => "b" "list" => "c" } }',
        {"n": 5, "o": {"p": "q"}, "one": "a", "list": ["a", "b"]},
        {"n": 5, "o": {"p": "q"}, "new": "5 of q, %{[no][such]}", "one": ["a", "b"], "list": ["a", "b", "c"]},
    ),
    Case(
        "a tag is there once",
        'mutate { add_tag => ["a", "b-%{n}"] }',
        {"n": 1, "tags": ["a"]},
        {"n": 1, "tags": ["a", "b-1"]},
    ),
    Case(
        "tags removed",
        'mutate { remove_tag => ["a", "c.d"] }',
        {"tags": ["a", "b", "c.d", "cxd", "a"]},
        {"tags": ["b", "cxd"]},
    ),
    Case("the last tag removed", 'mutate { remove_tag => ["a"] }', {"tags": ["a"]}, {"tags": []}),
    Case("no tag removed", 'mutate { remove_tag => ["a"] }', {"tags": ["b"]}, {"tags": ["b"]}),
    Case("no tags to remove from", 'mutate { remove_tag => ["a"] }', {"a": 1}, {"a": 1}),
    Case(
        "kv",
        'kv { source => "q" field_split => "&?" target => "args" }',
        {"q": "?a=1&b=x y&a=2"},
        {"q": "?a=1&b=x y&a=2", "args": {"a": ["1", "2"], "b": "x y"}},
    ),
    Case(
        "kv, quotes, keys and a prefix",
        'kv { source => "m" prefix => "p_" include_keys => ["a"] field_split => " " }',
        {"m": 'a="1" b=2'},
        {"m": 'a="1" b=2', "p_a": "1"},
    ),
    Case(
        "dissect",
        'dissect { mapping => { "m" => "%{ts} %{[x][y]->} %{?n} %{}: %{rest}" } }',
        {"m": "today y   [17] z: the rest"},
        {"m": "today y   [17] z: the rest", "ts": "today", "x": {"y": "y"}, "rest": "the rest"},
    ),
    Case(
        "dissect, converted",
        'dissect { mapping => { "m" => "%{a}:%{b}" } convert_datatype => { "a" => "int" "b" => "float" } }',
        {"m": "1:2.5"},
        {"m": "1:2.5", "a": 1, "b": 2.5},
    ),
    Case(
        "dissect, other",
        'dissect { mapping => { "m" => "%{a}:%{b}" } }',
        {"m": "x"},
        {"m": "x", "tags": ["_dissectfailure"]},
    ),
    Case(
        "a body changes what its condition asked",
        'if [level] == "ERROR" { mutate { replace => { "level" => "done" } } mutate { add_tag => ["error"] } } '
        'else if [level] == "done" { mutate { add_tag => ["wrong"] } } else { mutate { add_tag => ["other"] } }',
        {"level": "ERROR"},
        {"level": "done", "tags": ["error"]},
    ),
    Case(
        "else if",
        'if [n] > 5 { mutate { add_tag => ["many"] } } else if [n] > 1 { mutate { add_tag => ["some"] } '
        '} else { mutate { add_tag => ["few"] } }',
        {"n": 3},
        {"n": 3, "tags": ["some"]},
    ),
    Case(
        "else, and an if within an if",
        'if [a] { if [b] { mutate { add_tag => ["both"] } } else { mutate { add_tag => ["one"] } } '
        'mutate { add_tag => ["a"] } } else { mutate { add_tag => ["none"] } }',
        {"a": "x"},
        {"a": "x", "tags": ["one", "a"]},
    ),
    Case(
        "metadata does not stay",
        'mutate { add_field => { "[@metadata][x]" => "%{a}" } } if [@metadata][x] == "1" { mutate { '
        'add_tag => ["seen"] } }',
        {"a": "1"},
        {"a": "1", "tags": ["seen"]},
    ),
    Case("a field below a text", 'if [a][b] { mutate { add_tag => ["no"] } }', {"a": "text"}, {"a": "text"}),
    Case(
        "a failure is asked after",
        'json { source => "m" } if "_jsonparsefailure" in [tags] { mutate { add_field => { "why" => "json" } } }',
        {"m": "{"},
        {"m": "{", "tags": ["_jsonparsefailure"], "why": "json"},
    ),
    Case(
        "quotes and slashes in a condition",
        r"""if [p] =~ /^\/a'b\/.*\.js$/ and [q] != 'it"s' { mutate { add_tag => ["yes"] } }""",
        {"p": "x\n/a'b/c.js", "q": "it's"},
        {"p": "x\n/a'b/c.js", "q": "it's", "tags": ["yes"]},
    ),
)

DROPPED = Case("drop", 'if [level] == "DEBUG" { drop { } } mutate { add_tag => ["kept"] }', {"level": "DEBUG"}, {})
