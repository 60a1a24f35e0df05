"""The tree of subscriptions agrees with asking every subscription by itself, whatever is added and removed."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.lab.broker_subscriptions import Subscription, SubscriptionTree
from bridge.lab.mqtt_topics import split_shared, topic_matches

_levels = st.sampled_from(["", "a", "b", "$aws"])
_topics = st.lists(_levels, min_size=1, max_size=4).map("/".join).filter(bool)
_filters = st.builds(
    lambda share, levels, rest: "/".join([*share, *levels, *rest]),
    st.sampled_from([[], ["$share", "g"], ["$share", "h"]]),
    st.lists(st.sampled_from(["a", "b", "+", "$aws"]), min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
)
_clients = st.sampled_from(["x", "y", "z"])
_steps = st.lists(st.tuples(st.booleans(), _clients, _filters, st.integers(0, 1)), max_size=30)


@given(_steps, _topics)
def test_given_any_subscriptions_then_a_message_finds_exactly_those_that_match(
    steps: list[tuple[bool, str, str, int]], topic: str
) -> None:
    tree, model = SubscriptionTree(), dict[tuple[str, str], int]()
    for add, client_id, topic_filter, qos in steps:
        key = (client_id, topic_filter)
        if add:
            assert tree.add(client_id, topic_filter, Subscription(qos)) is (key not in model)
            model[key] = qos
        else:
            assert tree.remove(client_id, topic_filter) is (model.pop(key, None) is not None)

    direct: dict[str, int] = {}
    groups: dict[tuple[str, str], set[str]] = {}
    for (client_id, topic_filter), qos in model.items():
        share_name, plain = split_shared(topic_filter)
        if not topic_matches(plain, topic):
            continue
        if share_name:
            groups.setdefault((share_name, plain), set()).add(client_id)
        else:
            direct[client_id] = max(qos, direct.get(client_id, 0))
    found = tree.match(topic)
    assert {client_id: one.qos for client_id, one in found.direct.items()} == direct
    expected = sorted((name, sorted(members)) for (name, _), members in groups.items())
    assert sorted((name, sorted(members)) for name, members in found.groups) == expected


@given(_steps)
def test_given_everything_removed_then_nothing_is_left_of_the_tree(
    steps: list[tuple[bool, str, str, int]],
) -> None:
    tree = SubscriptionTree()
    for _, client_id, topic_filter, qos in steps:
        tree.add(client_id, topic_filter, Subscription(qos))
    for _, client_id, topic_filter, _ in steps:
        tree.remove(client_id, topic_filter)
    assert tree._root.is_empty
