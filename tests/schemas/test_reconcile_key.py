"""`reconcile` of a [[source]]: how far to look back each day."""

from support.makers import load, problems

SOURCE = '[[source]]\nname = "{name}"\nreconcile = "{back}"\n{more}'


def test_a_source_says_how_far_to_look_back() -> None:
    text = SOURCE.format(name="hubspot", back="24h", more="")
    assert load(text).sources["hubspot"].reconcile_s == 86_400
    assert load("").sources["hubspot"].reconcile_s is None


def test_what_does_not_fit_is_said() -> None:
    for name, back, more, why in (
        ("hubspot", "59m", "", "must be from 1h to 30d"),
        ("website", "24h", 'auth = "token"', "can't be asked what was missed"),
    ):
        (problem,) = problems(SOURCE.format(name=name, back=back, more=more))
        assert why in problem
