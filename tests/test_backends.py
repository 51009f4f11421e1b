"""Executable backends: tools from code, each domain's behaviour, worlds apart, hostile arguments,
and a whole crawl."""
from __future__ import annotations

import ast
import asyncio
import importlib.util
import json
import random
import re
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import MENU, Scripted, call, calls, plan, result, script, twice

from dialog_generation import agents, run, synthesize_tools
from dialog_generation.agents import Cast
from dialog_generation.backends import World, backend_files, backend_tools, registry
from dialog_generation.backends.shop import Shop
from dialog_generation.orchestrator import play
from dialog_generation.scene import Scene
from looptool.calling.schema_check import check_calls
from looptool.config import Config, Dialogs, Student, Teacher
from looptool.config_file import ROOT
from looptool.errors import InputError
from looptool.foreign.tool_objects import read_tool
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.records import Call, Dialog, Message, Need, Tool
from looptool.run_files import RunFiles
from looptool.simulation.world.catalogue import catalogue
from looptool.stages.meta import read_meta

TOOLS = backend_tools()
NAMED = {tool.name: tool for tool in TOOLS}
DOMAINS = list(dict.fromkeys(tool.domain for tool in TOOLS))
DAY = "2024-05-01"


@pytest.fixture
def world() -> World:
    return World(TOOLS, DAY, "0:d000000")


@pytest.fixture
def registering() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = set(registry._ACTIONS)
    yield
    for name in set(registry._ACTIONS) - before:
        del registry._ACTIONS[name]


def do(world: World, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """The result of a call that must succeed."""
    answer = world.call(Call(name=tool, arguments=arguments))
    assert "error" not in answer, answer
    return answer


def refused(world: World, tool: str, /, **arguments: Any) -> str:
    return world.call(Call(name=tool, arguments=arguments))["error"]


# Tools from code


def test_at_least_six_domains_and_every_tool_is_whole() -> None:
    assert len(DOMAINS) >= 6 and len(NAMED) == len(TOOLS)
    for tool in TOOLS:
        assert read_tool(msgspec.to_builtins(tool)) == tool and tool.description.endswith(".")
        for name, schema in tool.parameters["properties"].items():
            assert "type" in schema and schema.get("description"), (tool, name)


def test_the_record_of_a_method() -> None:
    assert msgspec.to_builtins(NAMED["find_hotels"]) == {
        "name": "find_hotels",
        "description": "Hotels of a city with the price of a night in euros.",
        "domain": "travel", "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "Where",
                     "enum": ["Athens", "Dublin", "Lisbon", "Oslo", "Rome", "Vienna"]},
            "highest_price": {"type": "integer", "minimum": 1, "maximum": 10_000,
                              "description": "Only what costs at most this much a night"}}}}


def load(path: Path, source: str) -> None:
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]


def test_the_example_of_the_docs_works(tmp_path: Path, registering: None) -> None:
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    load(tmp_path / "heating.py", re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    tool = next(tool for tool in backend_tools() if tool.domain == "heating")
    assert (tool.name, tool.description) == ("set_heating",
                                             "Set the temperature that a room shall have.")
    assert tool.parameters["required"] == ["room"] and tool.parameters["properties"]["degrees"] == {
        "type": "integer", "minimum": 5, "maximum": 30, "default": 20,
        "description": "Wanted temperature in degrees Celsius"}
    world = World([tool], DAY, "0:d")
    locked = world.facts["heating"]["locked"]
    assert do(world, "set_heating", room="kitchen")["degrees"] == 20
    assert do(world, "set_heating", room="kitchen", degrees=25)["before"] == 20
    assert refused(world, "set_heating", room=locked) == f"the thermostat of the {locked} is locked"
    assert "degrees" in refused(world, "set_heating", room="kitchen", degrees=99)


CLASS = """
from dialog_generation.backends import Backend, register
@register("d")
class Broken(Backend):
    def {method}
"""


@pytest.mark.parametrize("method, says", [
    ('move_money(self) -> dict:\n        """Again."""', "Bank has a tool 'move_money' already"),
    ('f(self, x) -> dict:\n        """No hint."""', "Broken.f needs a docstring and a type hint"),
    ("f(self, x: int) -> dict:\n        pass", "Broken.f needs a docstring and a type hint"),
])
def test_a_class_that_makes_no_tools_is_named(method: str, says: str, tmp_path: Path,
                                              registering: None) -> None:
    with pytest.raises(InputError, match=f"broken.py: .*{says}"):
        load(tmp_path / "broken.py", CLASS.format(method=method))


def test_no_backend_reaches_outside() -> None:
    allowed = {"__future__", "dataclasses", "datetime", "dialog_generation", "math", "msgspec",
               "posixpath", "random", "sqlite3", "statistics", "typing"}
    for path in backend_files(TOOLS):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import)
                   for name in node.names}
        modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {module.split(".")[0] for module in modules} <= allowed, path
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not names & {"eval", "exec", "open", "compile", "__import__"}, path
        connected = re.findall(r"sqlite3\.connect\((.*?)\)", path.read_text(encoding="utf-8"))
        assert set(connected) <= {'":memory:"'}


# The domains


def test_files(world: World) -> None:
    some = world.facts["file system"]["files"][0]
    assert do(world, "read_text_file", path=some)["content"]
    do(world, "make_folder", path="/new")
    do(world, "write_text_file", path="/new/a.txt", content="One\n")
    assert do(world, "write_text_file", path="/new/a.txt", content="Two",
              append=True)["characters"] == 7
    assert do(world, "search_file_text", text="two", folder="/new")["first"] == [
        {"path": "/new/a.txt", "line": 2, "text": "Two"}]
    assert do(world, "rename_path", source="/new", target="/moved")["moved"] == 2
    assert do(world, "list_folder", folder="/moved/")["entries"] == ["a.txt"]
    assert do(world, "read_text_file", path="/moved/a.txt")["content"] == "One\nTwo"
    assert "cannot be moved into itself" in refused(world, "rename_path", source="/moved",
                                                    target="/moved/inside")
    assert refused(world, "rename_path", source=some,
                   target="/moved/a.txt") == "/moved/a.txt: exists already"
    assert refused(world, "delete_path", path="/moved") == "/moved: folder is not empty"
    assert do(world, "delete_path", path="/moved", with_content=True)["deleted"] == 2
    assert refused(world, "read_text_file",
                   path="/moved/a.txt") == "/moved/a.txt: no such file or folder"
    assert refused(world, "write_text_file", path="/none/a.txt",
                   content="") == "/none: no such file or folder"


@pytest.mark.parametrize("path",
                         ["../../etc/passwd", "/../etc/passwd", "~/.profile", "/proc/self/environ",
                          __file__])
def test_no_path_leaves_the_sandbox(world: World, path: str) -> None:
    assert "no such file" in refused(world, "read_text_file", path=path)
    assert do(world, "list_folder", folder="/../..")["folder"] == "/"
    assert do(world, "write_text_file", path="../x",
              content="")["path"] == "/x" and not Path("../x").exists()


def test_calendar(world: World) -> None:
    day = "2024-06-20"
    first = do(world, "add_event", title="Talk", start=f"{day} 08:00", minutes=120, people=["Noor"])
    do(world, "add_event", title="Lunch", start=f"{day} 12:00")
    assert "overlaps 'Talk'" in refused(world, "add_event", title="x", start=f"{day} 09:59")
    assert do(world, "find_gap", day=day, minutes=60)["start"] == f"{day} 10:00"
    assert do(world, "find_gap", day=day, minutes=240)["start"] == f"{day} 13:00"
    assert "no 600 minutes" in refused(world, "find_gap", day=day, minutes=600)
    assert do(world, "shift_event", event_id=first["event_id"],
              start=f"{day} 09:00")["minutes"] == 120
    assert [event["title"]
            for event in do(world, "show_agenda", day=day)["events"]] == ["Talk", "Lunch"]
    do(world, "remove_event", event_id=first["event_id"])
    assert do(world, "find_events", words="TALK")["matches"] == 0
    assert "no event" in refused(world, "remove_event", event_id=first["event_id"])
    assert "YYYY-MM-DD HH:MM" in refused(world, "add_event", title="x", start="tomorrow")
    do(world, "add_event", title="Night shift", start="2024-06-20 22:00", minutes=720)
    assert do(world, "find_gap", day="2024-06-21", minutes=60)["start"] == "2024-06-21 10:00"
    do(world, "add_event", title="Charter", start="0999-01-01 09:00")
    assert do(world, "show_agenda", day="0999-01-01")["events"][0]["start"] == "0999-01-01 09:00"
    do(world, "add_event", title="x", start=f"{day} 19:00")


def test_bank(world: World) -> None:
    accounts = {entry["kind"]: entry for entry in do(world, "list_accounts")["accounts"]}
    current, savings = accounts["current"]["account"], accounts["savings"]["account"]
    total = sum(entry["balance"] for entry in accounts.values())
    assert accounts == {entry["kind"]: entry for entry in world.facts["bank"]["accounts"]}
    moved = do(world, "move_money", source=current, target=savings, amount=100.1, note="for later")
    assert moved["balance"] == pytest.approx(accounts["current"]["balance"] - 100.1)
    assert sum(entry["balance"]
               for entry in do(world, "list_accounts")["accounts"]) == pytest.approx(total)
    do(world, "pay_payee", account=savings, payee="Rent Office West", amount=50)
    newest = do(world, "account_statement", account=savings, limit=2)["entries"]
    assert [(entry["with"], entry["amount"])
            for entry in newest] == [("Rent Office West", -50.0), (current, 100.1)]
    assert do(world, "account_statement", account=savings, since="2024-05-02")["entries"] == []
    assert "holds only" in refused(world, "move_money", source=current, target=savings,
                                   amount=999_999)
    assert "whole cents" in refused(world, "move_money", source=current, target=savings,
                                    amount=1.005)
    assert "same account" in refused(world, "move_money", source=current, target=current, amount=1)
    assert "no open account" in refused(world, "account_balance", account="AC-1' OR 1=1 --")
    third = do(world, "add_account", kind="savings")["account"]
    assert "still holds" in refused(world, "close_account", account=current)
    assert do(world, "close_account", account=third) == {"closed": third}
    assert "no open account" in refused(world, "account_balance", account=third)


def test_shop(world: World) -> None:
    products = do(world, "browse_products")
    assert products["matches"] == 16 and len(products["products"]) == 5
    prices = [product["price"] for product in products["products"]]
    assert prices == sorted(prices)
    cheap = Shop(random.Random(0), date(2024, 5, 1))
    cheap._products["P1"].cents = 402  # 4.02 * 100 is less than 402
    assert cheap.browse_products(cheap._products["P1"].name, highest_price=4.02)["matches"] == 1
    tools = do(world, "browse_products", category="garden")["products"]
    assert {product["category"] for product in tools} == {"garden"}
    details = {id: do(world, "product_details", product_id=id)
               for id in (f"P{number}" for number in range(1, 17))}
    id, product = next((id, product) for id, product in details.items() if product["stock"] >= 2)
    assert "the cart is empty" in refused(world, "check_out", address="1 Elm Street")
    assert do(world, "put_in_cart", product_id=id,
              quantity=2)["total"] == pytest.approx(2 * product["price"])
    assert f"only {product['stock']}" in refused(world, "put_in_cart", product_id=id, quantity=50)
    percent = do(world, "use_voucher", code=world.facts["shop"]["voucher"])["percent_off"]
    order = do(world, "check_out", address="1 Elm Street")
    assert order["total"] == pytest.approx(2 * product["price"] * (100 - percent) / 100, abs=0.006)
    assert do(world, "show_cart") == {"items": [], "percent_off": 0, "total": 0.0}
    assert do(world, "product_details", product_id=id)["stock"] == product["stock"] - 2
    assert do(world, "cancel_order", order_id=order["order_id"])["refund"] == order["total"]
    assert do(world, "product_details", product_id=id) == product
    assert "cancelled already" in refused(world, "cancel_order", order_id=order["order_id"])
    assert do(world, "order_details", order_id=order["order_id"])["status"] == "cancelled"
    assert "no voucher" in refused(world, "use_voucher", code="FREE")
    assert "not in the cart" in refused(world, "take_from_cart", product_id=id)


def test_mail(world: World) -> None:
    name, address = next(iter(world.facts["mail"]["contacts"].items()))
    assert do(world, "find_contact",
              name=name.split()[0])["contacts"] == [{"name": name, "address": address}]
    sent = do(world, "compose_mail", to=[name, "a@b.example"], subject="Plan", body="See you.")
    assert sent["to"] == [address, "a@b.example"]
    assert do(world, "open_mail", mail_id=sent["mail_id"])["body"] == "See you."
    mails = do(world, "list_mails",
               folder="inbox")["mails"] + do(world, "list_mails", folder="archive")["mails"]
    assert len(mails) == 6
    answer = do(world, "answer_mail", mail_id=mails[0]["mail_id"], body="Yes.")
    assert (answer["to"], answer["subject"]) == ([mails[0]["sender"]], f"Re: {mails[0]['subject']}")
    assert do(world, "list_mails", folder="sent")["mails"][0]["mail_id"] == answer["mail_id"]
    do(world, "open_mail", mail_id=mails[0]["mail_id"])
    assert mails[0]["mail_id"] not in [mail["mail_id"] for mail in
                                       do(world, "list_mails", only_unread=True)["mails"]]
    do(world, "file_mail", mail_id=sent["mail_id"], folder="trash")
    assert "in trash already" in refused(world, "file_mail", mail_id=sent["mail_id"],
                                         folder="trash")
    assert do(world, "find_mails", words="SEE YOU")["mails"][0]["mail_id"] == sent["mail_id"]
    assert "neither an address" in refused(world, "compose_mail", to=["Nobody"], subject="",
                                           body="")


def test_travel(world: World) -> None:
    trip = {"origin": "Rome", "destination": "Oslo", "day": "2024-05-20"}
    flights = do(world, "find_flights", **trip)["flights"]
    assert len(flights) == 2
    flight, seats = flights[0], flights[0]["seats"]
    booked = do(world, "reserve_flight", flight_id=flight["flight_id"], day=trip["day"],
                passengers=["Ana"])
    assert booked["price"] == flight["price"]
    left = {entry["flight_id"]: entry["seats"]
            for entry in do(world, "find_flights", **trip)["flights"]}
    assert left[flight["flight_id"]] == seats - 1
    assert "cannot be booked" in refused(world, "find_flights", **trip | {"day": "2024-04-30"})
    hotel = do(world, "find_hotels", city="Oslo")["hotels"][0]
    stay = {"hotel_id": hotel["hotel_id"], "arrival": trip["day"], "nights": 2, "guest": "Ana"}
    rooms = 0
    while "error" not in world.call(call("reserve_hotel", **stay)):
        rooms += 1
    assert 1 <= rooms <= 6 and refused(world, "reserve_hotel",
                                       **stay) == f"{hotel['hotel_id']} is full on 2024-05-20"
    do(world, "reserve_hotel", **stay | {"arrival": "2024-05-22"})
    bookings = do(world, "list_bookings")
    assert bookings["total"] == flight["price"] + 2 * hotel["price"] * (rooms + 1)
    for booking in bookings["bookings"][:2]:
        assert do(world, "cancel_booking",
                  booking_id=booking["booking_id"])["refund"] == booking["price"]
    assert do(world, "reserve_hotel", **stay) and "no booking" in refused(
        world, "cancel_booking", booking_id=booked["booking_id"])


@pytest.mark.parametrize("name, arguments, expected", [
    ("convert_measure", {"value": 3, "source": "mile", "target": "km"},
     {"value": 4.828032, "unit": "km"}),
    ("convert_measure", {"value": 100, "source": "celsius", "target": "fahrenheit"},
     {"value": 212, "unit": "fahrenheit"}),
    ("convert_measure", {"value": -500, "source": "celsius", "target": "kelvin"},
     "below absolute zero"),
    ("convert_measure", {"value": 1, "source": "kg", "target": "km"}, "unit of mass, km of length"),
    ("calculate", {"operation": "add", "a": 0.1, "b": 0.2}, {"value": 0.3}),
    ("calculate", {"operation": "divide", "a": 1, "b": 0}, "division by zero"),
    ("calculate", {"operation": "divide", "a": 1, "b": 5e-324}, "too large"),
    ("calculate", {"operation": "power", "a": -8, "b": 0.5}, "no number"),
    ("calculate", {"operation": "power", "a": 1e10, "b": 1e10}, "no number"),
    ("change_in_percent", {"before": 80, "after": 100}, {"percent": 25}),
    ("change_in_percent", {"before": 5e-324, "after": 1}, "too large"),
    ("describe_numbers", {"numbers": [1, 2, 6]},
     {"count": 3, "sum": 9, "mean": 3, "median": 2, "smallest": 1, "largest": 6}),
    ("recall_value", {"name": "none"}, "nothing is stored"),
])
def test_numbers(world: World, name: str, arguments: dict[str, Any],
                 expected: dict[str, Any] | str) -> None:
    answer = world.call(Call(name=name, arguments=arguments))
    assert expected in answer["error"] if isinstance(expected, str) else answer == expected


@pytest.mark.parametrize("tool, id, more", [
    ("remove_event", "event_id", {}), ("open_mail", "mail_id", {}),
    ("product_details", "product_id", {}), ("put_in_cart", "product_id", {}),
    ("cancel_order", "order_id", {}), ("cancel_booking", "booking_id", {}),
    ("reserve_flight", "flight_id", {"day": DAY, "passengers": ["Ana"]}),
    ("reserve_hotel", "hotel_id", {"arrival": DAY, "nights": 1, "guest": "Ana"})])
def test_an_id_without_an_entry_is_refused(world: World, tool: str, id: str,
                                           more: dict[str, Any]) -> None:
    assert refused(world, tool, **{id: "X0"}, **more) == f"no {id.removesuffix('_id')} 'X0'"


def test_numbers_are_remembered(world: World) -> None:
    do(world, "store_value", name="width", value=2.5)
    assert do(world, "recall_value", name="width") == {"name": "width", "value": 2.5}


# The list of tools


def listed(folder: Path, monkeypatch: pytest.MonkeyPatch, *sources: object) -> list[Tool]:
    """What synthesize_tools.py --tools writes."""
    script(monkeypatch, synthesize_tools, folder, "--tools", *sources)
    return list(read_jsonl(folder / "tools.jsonl", Tool))


def test_their_tools_are_listed_alone_or_beside_others(tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(tmp_path, monkeypatch, "backends") == TOOLS
    assert listed(tmp_path, monkeypatch, "catalogue", "backends") == [*catalogue("train"), *TOOLS]
    other = msgspec.structs.replace(MENU, name="move_money")
    write_jsonl(tmp_path / "some.jsonl", [MENU, other, NAMED["pay_payee"]])
    assert listed(tmp_path, monkeypatch, "backends", tmp_path / "some.jsonl") == [*TOOLS, MENU]
    refused = [json.loads(line)
               for line in (tmp_path / "tools_refused.jsonl").read_bytes().splitlines()]
    assert [(entry["place"], entry["code"])
            for entry in refused] == [("some.jsonl:2", "duplicate_name")]
    counts = read_meta(tmp_path / "tools.jsonl").counts
    assert counts == {"duplicate_name": 1, "imported": len(TOOLS) + 1, "repeated": 1}


# Worlds


def test_worlds_repeat_by_seed_and_are_apart() -> None:
    first, again, other = (World(TOOLS, DAY, seed) for seed in ("0:d1", "0:d1", "0:d2"))
    assert first.facts == again.facts and all(first.facts[domain] != other.facts[domain]
                                              for domain in DOMAINS)
    do(first, "write_text_file", path="/mine", content="")
    do(first, "add_account", kind="current")
    assert "/mine" not in str(again.call(call("list_folder")))
    assert (len(do(again, "list_accounts")["accounts"]) == 2
            and len(do(first, "list_accounts")["accounts"]) == 3)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domain_does_not_depend_on_the_others(domain: str) -> None:
    alone = [tool for tool in TOOLS if tool.domain == domain][:1]
    assert World(alone, DAY, "0:d1").facts == {domain: World(TOOLS, DAY, "0:d1").facts[domain]}


def test_a_tool_of_the_same_name_with_other_parameters_has_no_backend() -> None:
    known = NAMED["move_money"]
    reworded = msgspec.structs.replace(known, description="Another text.")
    assert World([reworded], DAY, "").runs("move_money")
    assert not World([Tool(name="move_money")], DAY, "").runs("move_money")


HOSTILE = ["", " ", "/", "..", "../../etc/passwd", "a\x00b", "'; DROP TABLE accounts; --",
           "$(reboot)", "__class__", "{0.__init__}", "%s%n", "E1", "P1", "O1", "M1", "F1", "H1",
           "B1", "inbox", "9999-12-31", "0001-01-01", "2024-05-03", "9999-12-31 23:59",
           "0001-01-01 00:00", "2024-05-03 10:00", "x" * 6000, "🦊", "a@b.c",
           "１"]
LEAVES = (st.none() | st.booleans() | st.integers()
          | st.floats(allow_nan=False, allow_infinity=False)
          | st.sampled_from([0, -1, 1, 2**63, -2**63, 10**400, 1e308, 5e-324, 30]) | st.text()
          | st.sampled_from(HOSTILE))
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4)
                    | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8)


def fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values near the schema: of its type, hostile in content."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "array":
        return st.lists(fitting(schema["items"]), max_size=5)
    low, high = schema.get("minimum", -10**6), schema.get("maximum", 10**6)
    return {"string": st.sampled_from(HOSTILE) | st.text(min_size=1), "boolean": st.booleans(),
            "integer": st.integers(int(low), int(high)),
            "number": st.floats(low, high) | st.sampled_from([low, high])
            }[schema["type"]]


@st.composite
def hostile_calls(draw: st.DrawFn, domain: str) -> list[Call]:
    """A few calls to tools of one domain."""
    alike = st.sampled_from([tool for tool in TOOLS if tool.domain == domain])
    made = []
    for tool in draw(st.lists(alike, min_size=1, max_size=8)):
        near = st.fixed_dictionaries({}, optional={name: fitting(schema) | fitting(schema) | JSON
                                                   for name, schema
                                                   in tool.parameters["properties"].items()})
        whole = st.fixed_dictionaries(
            {name: fitting(schema) for name, schema in tool.parameters["properties"].items()})
        made.append(Call(name=tool.name, arguments=draw(whole | near)))
        if draw(st.integers(0, 9)) == 0:
            made.append(
                Call(name=tool.name, arguments=draw(st.dictionaries(st.text(), JSON, max_size=4))))
    return made


@pytest.mark.parametrize("domain", DOMAINS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_arguments_give_a_json_object(domain: str, data: st.DataObject) -> None:
    made = data.draw(hostile_calls(domain))
    world, twin = World(TOOLS, DAY, "0:d"), World(TOOLS, DAY, "0:d")
    for one in made:
        answer = world.call(one)
        assert isinstance(answer, dict) and answer == twin.call(one)
        assert json.loads(json.dumps(answer, allow_nan=False)) == answer


# In a dialog


SCENE = Scene(id="d000000", tools=[MENU, NAMED["write_text_file"], NAMED["read_text_file"]],
              date=DAY, messages=100)
NOTE = Need(kind="multi-step", tools=["write_text_file", "read_text_file"], text="keeps a menu")


def test_code_answers_where_a_tool_has_a_backend_and_the_model_elsewhere() -> None:
    steps = [
        calls(*(call("write_text_file", path="/m", content=text, append=True) for text in "abc"),
              call("getMenu", restaurant="Iris")),
        calls(call("read_text_file", path="/m"), call("read_text_file", path="/none")), "Done."]
    ask = Scripted(planner=[plan(NOTE)], user=["Keep it."], assistant=twice(*steps),
                   tool=[result(menu=["soup"])])
    dialog, _ = asyncio.run(play(SCENE, ask, Dialogs(), seed=0))
    results = [(json.loads(message.content), message.failed)
               for message in dialog.messages if message.role == "tool"]
    assert results == [*(({"path": "/m", "characters": number}, False) for number in (1, 2, 3)),
                       ({"menu": ["soup"]}, False), ({"path": "/m", "content": "abc"}, False),
                       ({"error": "/none: no such file or folder"}, True)]
    assert len(ask.asked["tool"]) == 1


def test_planner_and_user_know_the_world_and_the_assistant_does_not() -> None:
    def shown(scene: Scene) -> dict[str, bool]:
        ask = Scripted(planner=[plan(msgspec.structs.replace(NOTE, tools=["getMenu"]))],
                       user=["Hi."], assistant=twice("Done."))
        asyncio.run(play(scene, ask, Dialogs(), seed=0))
        return {role: "<world>\n" in str(chats).replace("\\n", "\n")
                for role, chats in ask.asked.items()}

    assert shown(SCENE) == {"planner": True, "user": True, "assistant": False}
    assert not any(shown(msgspec.structs.replace(SCENE, tools=[MENU])).values())


# Whole crawls of the simulated world


def crawl(folder: Path, in_flight: int = 8, count: int = 16) -> Path:
    config = Config(run_dir=str(folder), student=Student(model=""),
                    dialogs=Dialogs(count=count, tools_per_dialog=(2, 4), messages=(4, 8)),
                    teacher=Teacher(base_urls=["simulated"], models=["m"], in_flight=in_flight))
    files = RunFiles(config)
    write_jsonl(files.tools, TOOLS)
    asyncio.run(run.crawl(config, *run.read_pool(None, files), files.dialogs))
    return files.dialogs


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return crawl(tmp_path_factory.mktemp("crawl"))


def test_results_of_a_crawl_come_from_the_code(crawled: Path) -> None:
    results = []
    for dialog in read_jsonl(crawled, Dialog):
        world = World(dialog.tools, dialog.date, f"0:{dialog.id}")
        waiting: list[Call] = []
        for message in dialog.messages:
            if message.role == "tool":
                made = waiting.pop(0)
                if not check_calls([made], dialog.tools):
                    results.append(message.failed)
                    assert json.loads(message.content) == world.call(made)
            waiting = list(message.calls) or waiting
    assert len(results) >= 10
    meta = read_meta(crawled)
    assert "tool" not in meta.usage and meta.usage["assistant"].calls
    assert {Path(source).name for source in meta.sources} >= {"bank.py", "files.py", "world.md"}


def test_a_killed_crawl_goes_on_to_the_same_dialogs(crawled: Path, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    acts = agents.Cast.run
    left = iter(range(15))

    async def dying(self: Cast, history: list[Message], made: Call) -> Message:
        if next(left, None) is None:
            raise KeyError("killed")
        return await acts(self, history, made)

    monkeypatch.setattr(agents.Cast, "run", dying)
    with pytest.raises(KeyError, match="killed"):
        crawl(tmp_path, in_flight=4)
    monkeypatch.setattr(agents.Cast, "run", acts)
    assert not (tmp_path / "dialogs.jsonl").exists()
    assert crawl(tmp_path, in_flight=3).read_bytes() == crawled.read_bytes()
