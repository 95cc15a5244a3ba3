"""
RFC 9111, section by section: what is stored, for how long, and when it is used.
"""

import pytest

from tests.features.httpcache.conftest import BEGIN, date

#: What becomes of a request: the page is not asked, is asked, or is asked whether what is stored still holds.
HIT, MISS, VALIDATE = "hit", "miss", "validate"

LATER = date(BEGIN + 60)
EARLIER = date(BEGIN - 3600)
TAG = {"ETag": '"1"'}
OLD = {"Last-Modified": EARLIER}
BASIC = {"Authorization": "Basic eDp5"}


def fresh(control="max-age=60", **fields):
    """An answer that may be stored."""
    return 200, {
        "Cache-Control": control,
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }


def answer(status=200, **fields):
    """Any answer."""
    return status, {**{name.replace("_", "-"): value for name, value in fields.items()}}


def get(answer=None, seconds=0, method="GET", target="/", **fields):
    """A request, so many seconds after the one before, and what the page would say to it."""
    return seconds, method, target, {name.replace("_", "-"): value for name, value in fields.items()}, answer


UNCHANGED = (304, {})

# Section, what it is about, and pairs of a request and what becomes of it.
ROWS = [
    ("2", "an answer is stored under its method and target", [
        (get(fresh()), MISS),
        (get(), HIT),
        (get(target="/other"), MISS),
    ]),
    ("2", "and under its host", [(get(fresh(), Host="a"), MISS), (get(Host="A"), HIT), (get(fresh(), Host="b"), MISS)]),
    ("2", "the query belongs to the target", [(get(fresh(), target="/?a"), MISS), (get(target="/?b"), MISS)]),
    ("2", "GET answers HEAD", [(get(fresh()), MISS), (get(method="HEAD"), HIT)]),
    ("2", "HEAD does not answer GET", [(get(fresh(), method="HEAD"), MISS), (get(), MISS)]),
    ("3", "POST is not stored", [(get(fresh(), method="POST"), MISS), (get(fresh(), method="POST"), MISS)]),
    ("3", "an answer that says nothing is not stored", [(get(answer()), MISS), (get(answer()), MISS)]),
    ("3", "nor is one that only has validators", [(get(answer(**TAG, **OLD)), MISS), (get(), MISS)]),
    ("3", "Expires is enough", [(get(answer(Expires=LATER)), MISS), (get(), HIT)]),
    ("3", "public with a validator is stored and validated", [
        (get(fresh("public", **TAG)), MISS),
        (get(UNCHANGED),
        VALIDATE),
    ]),
    ("3", "public without one is of no use", [(get(fresh("public")), MISS), (get(), MISS)]),
    ("3", "any status may be stored that says how long", [(get((418, fresh()[1])), MISS), (get(), HIT)]),
    ("3", "an error, too", [(get((500, fresh()[1])), MISS), (get(), HIT)]),
    ("3", "206 is not stored", [(get((206, {**fresh()[1], "Content-Range": "bytes 0-0/9"})), MISS), (get(), MISS)]),
    ("3", "304 is not stored", [(get((304, fresh()[1]), If_None_Match='"9"'), MISS), (get(), MISS)]),
    ("3.1", "cookies are not stored", [(get(fresh(Set_Cookie="a=b")), MISS), (get(), MISS)]),
    ("3.5", "nor are answers to somebody", [(get(fresh(), **BASIC), MISS), (get(), MISS)]),
    ("3.5", "unless they are public", [(get(fresh("public, max-age=60"), **BASIC), MISS), (get(), HIT)]),
    ("3.5", "or say s-maxage", [(get(fresh("s-maxage=60"), **BASIC), MISS), (get(), HIT)]),
    ("3.5", "or must-revalidate", [(get(fresh("must-revalidate, max-age=60"), **BASIC), MISS), (get(), HIT)]),
    ("3.5", "what is stored is for those too", [(get(fresh()), MISS), (get(**BASIC), HIT)]),
    ("4.1", "an answer is for requests like its own", [
        (get(fresh(Vary="X-A"), X_A="1"), MISS), (get(X_A="1"), HIT), (get(fresh(Vary="X-A"), X_A="2"), MISS),
        (get(X_A="1"), HIT), (get(X_A="2"), HIT), (get(), MISS),
    ]),
    ("4.1", "also where the field is absent", [(get(fresh(Vary="X-A")), MISS), (get(), HIT), (get(X_A=""), MISS)]),
    ("4.1", "by several fields", [
        (get(fresh(Vary="X-A, x-b"), X_A="1", X_B="1"), MISS),
        (get(X_A="1", X_B="1"), HIT),
        (get(X_A="1", X_B="2"), MISS),
    ]),
    ("4.1", "blanks make no difference", [(get(fresh(Vary="X-A"), X_A="a,  b"), MISS), (get(X_A="a , b"), HIT)]),
    ("4.1", "nor does the order of what is accepted", [
        (get(fresh(Vary="Accept-Encoding"), Accept_Encoding="gzip, br"), MISS), (get(Accept_Encoding="BR,GZIP"), HIT),
    ]),
    ("4.1", "by everything is by nothing that could be stored", [(get(fresh(Vary="*")), MISS), (get(), MISS)]),
    ("4.1", "the list may have it anywhere", [(get(fresh(Vary="X-A, *")), MISS), (get(), MISS)]),
    ("4.2", "an answer is fresh up to its age", [(get(fresh()), MISS), (get(seconds=59), HIT), (get(seconds=1), MISS)]),
    ("4.2.1", "s-maxage before max-age", [(get(fresh("max-age=9, s-maxage=60")), MISS), (get(seconds=30), HIT)]),
    ("4.2.1", "max-age before Expires", [(get(fresh("max-age=60", Expires=EARLIER)), MISS), (get(seconds=30), HIT)]),
    ("4.2.1", "Expires counts from Date", [
        (get(answer(Expires=LATER, Date=date(BEGIN))), MISS), (get(seconds=59), HIT), (get(seconds=1), MISS),
    ]),
    ("4.2.1", "an Expires that is none has passed", [(get(answer(Expires="0")), MISS), (get(), MISS)]),
    ("4.2.1", "so has one of two that differ", [(get(answer(Expires=[EARLIER, LATER])), MISS), (get(), MISS)]),
    ("4.2.1", "an age that is none is over", [(get(fresh("max-age=x")), MISS), (get(), MISS)]),
    ("4.2.1", "as is a negative one", [(get(fresh("max-age=-1")), MISS), (get(), MISS)]),
    ("4.2.1", "a quoted one counts", [(get(fresh('max-age="60"')), MISS), (get(seconds=30), HIT)]),
    ("4.2.1", "of two the first counts", [(get(fresh("max-age=60, max-age=1")), MISS), (get(seconds=30), HIT)]),
    ("4.2.1", "a huge one is long", [(get(fresh("max-age=99999999999999999999")), MISS), (get(seconds=10**6), HIT)]),
    ("4.2.3", "what was old when it came is old", [
        (get(fresh(Age="50")), MISS),
        (get(seconds=9), HIT),
        (get(seconds=1), MISS),
    ]),
    ("4.2.3", "also by its date", [
        (get(answer(Cache_Control="max-age=60", Date=date(BEGIN - 50))), MISS),
        (get(seconds=9), HIT),
        (get(seconds=1), MISS),
    ]),
    ("4.2.3", "a date in the future makes nothing younger", [
        (get(answer(Cache_Control="max-age=60", Date=date(BEGIN + 999))), MISS),
        (get(seconds=59), HIT),
        (get(seconds=1), MISS),
    ]),
    ("4.2.4", "what is stale is not used", [(get(fresh(**TAG)), MISS), (get(UNCHANGED, seconds=60), VALIDATE)]),
    ("4.3.1", "a tag is asked about", [(get(fresh("no-cache", **TAG)), MISS), (get(UNCHANGED), VALIDATE)]),
    ("4.3.1", "or a date", [(get(fresh("no-cache", **OLD)), MISS), (get(UNCHANGED), VALIDATE)]),
    ("4.3.3", "304 makes it fresh again", [
        (get(fresh(**TAG)), MISS), (get((304, fresh()[1]), seconds=60), VALIDATE), (get(seconds=30), HIT),
    ]),
    ("4.3.3", "another answer takes its place", [
        (get(fresh(**TAG)), MISS), (get(fresh(ETag='"2"'), seconds=60), VALIDATE), (get(seconds=30), HIT),
    ]),
    ("4.3.3", "one that may not be stored removes it", [
        (get(fresh(**TAG)), MISS), (get(fresh("no-store"), seconds=60), VALIDATE), (get(fresh("no-store")), MISS),
    ]),
    ("4.3.3", "an error does not", [
        (get(fresh(**TAG)), MISS),
        (get(answer(500), seconds=60), VALIDATE),
        (get((304, fresh()[1])), VALIDATE),
        (get(), HIT),
    ]),
    ("4.3.4", "304 brings new fields", [
        (get(fresh(**TAG)), MISS), (get((304, fresh("max-age=5")[1]), seconds=60), VALIDATE), (get(seconds=4), HIT),
        (get(UNCHANGED, seconds=2), VALIDATE),
    ]),
    ("4.4", "POST removes what is stored", [(get(fresh()), MISS), (get(answer(), method="POST"), MISS), (get(), MISS)]),
    ("4.4", "so do PUT, DELETE and what is not known", [
        *((item, MISS) for method in ("PUT", "DELETE", "PATCH", "BREW") for item in (get(fresh()), get(answer(), method=method))),
        (get(), MISS),
    ]),
    ("4.4", "not when they fail", [(get(fresh()), MISS), (get(answer(403), method="POST"), MISS), (get(), HIT)]),
    ("4.4", "not safe methods", [
        (get(fresh()), MISS),
        (get(answer(), method="OPTIONS"), MISS),
        (get(answer(), method="PROPFIND"), MISS),
        (get(), HIT),
    ]),
    ("4.4", "Location is removed too", [
        (get(fresh(), target="/a"), MISS),
        (get(answer(201, Location="/a"), method="POST"), MISS),
        (get(target="/a"), MISS),
    ]),
    ("4.4", "and Content-Location", [
        (get(fresh(), target="/a?b"), MISS),
        (get(answer(Content_Location="http://localhost/a?b#c"), method="POST"), MISS),
        (get(target="/a?b"), MISS),
    ]),
    ("4.4", "of the same origin", [
        (get(fresh(), target="/a"), MISS),
        (get(answer(Location="http://other/a"), method="POST"), MISS),
        (get(target="/a"), HIT),
        (get(answer(Location="//other/a"), method="POST"), MISS), (get(target="/a"), HIT),
        (get(answer(Location="https://localhost/a"), method="POST"), MISS), (get(target="/a"), HIT),
    ]),
    ("4.4", "with all variants", [
        (get(fresh(Vary="X-A"), X_A="1"), MISS), (get(answer(), method="POST"), MISS), (get(X_A="1"), MISS),
    ]),
    ("5.2.1.1", "a request may want younger answers", [
        (get(fresh(**TAG)), MISS), (get(seconds=10, Cache_Control="max-age=20"), HIT),
        (get(UNCHANGED, Cache_Control="max-age=5"), VALIDATE),
    ]),
    ("5.2.1.2", "or take stale ones", [
        (get(fresh(**TAG)), MISS),
        (get(seconds=70, Cache_Control="max-stale=20"), HIT),
        (get(Cache_Control="max-stale"), HIT),
        (get(UNCHANGED, Cache_Control="max-stale=5"), VALIDATE),
    ]),
    ("5.2.1.2", "but for those that forbid it", [
        (get(fresh("max-age=60, must-revalidate", **TAG)), MISS),
        (get(UNCHANGED, seconds=70, Cache_Control="max-stale"), VALIDATE),
    ]),
    ("5.2.1.3", "or want what stays fresh", [
        (get(fresh(**TAG)), MISS), (get(seconds=10, Cache_Control="min-fresh=40"), HIT),
        (get(UNCHANGED, Cache_Control="min-fresh=50"), VALIDATE),
    ]),
    ("5.2.1.4", "or have everything validated", [
        (get(fresh(**TAG)), MISS),
        (get(UNCHANGED, Cache_Control="no-cache"), VALIDATE),
    ]),
    ("5.2.1.4", "or got anew", [(get(fresh()), MISS), (get(fresh(), Cache_Control="no-cache"), MISS), (get(), HIT)]),
    ("5.2.1.5", "or have nothing stored", [(get(fresh(), Cache_Control="no-store"), MISS), (get(), MISS)]),
    ("5.2.1.5", "what is stored stays", [
        (get(fresh(**TAG)), MISS),
        (get(fresh(), seconds=60, Cache_Control="no-store"), VALIDATE),
        (get(UNCHANGED),
        VALIDATE),
    ]),
    ("5.2.2.1", "max-age=0 is validated", [(get(fresh("max-age=0", **TAG)), MISS), (get(UNCHANGED), VALIDATE)]),
    ("5.2.2.2", "must-revalidate is fresh while it is", [
        (get(fresh("max-age=60, must-revalidate", **TAG)), MISS),
        (get(seconds=59), HIT),
        (get(UNCHANGED, seconds=1), VALIDATE),
    ]),
    ("5.2.2.3", "must-understand is stored if it is", [
        (get(fresh("no-store, must-understand, max-age=60")), MISS),
        (get(), HIT),
    ]),
    ("5.2.2.3", "not if it is not", [(get((299, fresh("must-understand, max-age=60")[1])), MISS), (get(), MISS)]),
    ("5.2.2.4", "no-cache is validated each time", [
        (get(fresh("no-cache, max-age=60", **TAG)), MISS), (get(UNCHANGED), VALIDATE), (get(UNCHANGED), VALIDATE),
    ]),
    ("5.2.2.4", "also where it names fields", [
        (get(fresh('max-age=60, no-cache="set-cookie"', **TAG)), MISS),
        (get(UNCHANGED),
        VALIDATE),
    ]),
    ("5.2.2.5", "no-store is not stored", [(get(fresh("no-store, max-age=60")), MISS), (get(), MISS)]),
    ("5.2.2.7", "private is not stored", [(get(fresh("private, max-age=60")), MISS), (get(), MISS)]),
    ("5.2.2.7", "also where it names fields", [(get(fresh('private="x-a", max-age=60')), MISS), (get(), MISS)]),
    ("5.2.2.8", "proxy-revalidate forbids stale use", [
        (get(fresh("max-age=60, proxy-revalidate", **TAG)), MISS),
        (get(UNCHANGED, seconds=60, Cache_Control="max-stale"), VALIDATE),
    ]),
    ("5.2.2.10", "s-maxage forbids it too", [
        (get(fresh("s-maxage=60", **TAG)), MISS), (get(UNCHANGED, seconds=60, Cache_Control="max-stale"), VALIDATE),
    ]),
    ("5.2.3", "unknown directives mean nothing", [(get(fresh("max-age=60, x-y, z=1")), MISS), (get(), HIT)]),
    ("5.2", "names have no case", [(get(fresh("MAX-AGE=60")), MISS), (get(), HIT)]),
    ("5.2", "malformed ones are skipped", [(get(fresh("=, ;x, max-age=60")), MISS), (get(), HIT)]),
    ("5.2", "a directive in quotes is none", [(get(fresh('x="no-store, private", max-age=60')), MISS), (get(), HIT)]),
    ("5.4", "Pragma is no-cache of old", [(get(fresh(**TAG)), MISS), (get(UNCHANGED, Pragma="no-cache"), VALIDATE)]),
    ("5.4", "where there is no Cache-Control", [
        (get(fresh(**TAG)), MISS),
        (get(Pragma="no-cache", Cache_Control="x"), HIT),
    ]),
    ("5861 3", "stale-while-revalidate is used stale", [
        (get(fresh("max-age=60, stale-while-revalidate=30", **TAG)), MISS),
        (get((304, fresh("max-age=60")[1]), seconds=89), HIT),
    ]),
    ("5861 3", "for so long", [
        (get(fresh("max-age=60, stale-while-revalidate=30", **TAG)), MISS), (get(UNCHANGED, seconds=91), VALIDATE),
    ]),
    ("5861 3", "also with s-maxage", [
        (get(fresh("s-maxage=60, stale-while-revalidate=30", **TAG)), MISS), (get(UNCHANGED, seconds=70), HIT),
    ]),
    ("5861 3", "not with must-revalidate", [
        (get(fresh("max-age=60, must-revalidate, stale-while-revalidate=30", **TAG)), MISS),
        (get(UNCHANGED, seconds=70), VALIDATE),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("section", "about", "steps"), ROWS, ids=[f"{row[0]} {row[1]}" for row in ROWS])
def test_rows(section, about, steps, cached, failures):
    """What RFC 9111 says."""
    world = cached()
    for (seconds, method, target, fields, says), expected in steps:
        world.clock.advance(seconds)
        if says is not None:
            world.origin.answer = says
        before = len(world.origin.seen)
        answer = world.request(method, target, fields)
        found = HIT if len(world.origin.seen) == before else MISS
        if found is MISS:
            sent = world.origin.seen[before]
            own = {name.lower() for name in fields}
            if {"if-none-match", "if-modified-since"} & sent.keys() - own:
                found = VALIDATE
        assert found == expected, f"{section}: {about}: {method} {target} {fields}"
        assert ("; hit" in answer["Cache-Status"]) is (expected == HIT)
    assert failures == []
