"""docs/configuration.md, made from the table of options (floor 10).

`python -m marmoset.config_page > docs/configuration.md` writes it; a test fails when the file is not current.
"""

from marmoset.config import DURATION, FILE_VARIABLE, NUMBER, OPTIONS, ORDERED, SIZE, Option

_HEAD = f"""# Configuration

This page is made from the table in `src/marmoset/config.py` by `python -m marmoset.config_page`; change it there.

Every option can be given in four ways; the first that is there counts:

1. a flag of `marmoset serve`, as in `--gossip-interval 500ms`, or an argument of `marmoset.open`
2. an environment variable, as in `MARMOSET_GOSSIP_INTERVAL=500ms`
3. a key of a TOML file, as in `gossip_interval = "500ms"`; the file is named by `--config` or `{FILE_VARIABLE}`
4. its default

`marmoset.open` looks at its arguments and at the file that `config_file` names, and not at the environment.

Durations are written `500ms`, `15s`, `10m`, `1h`, `2d`. Sizes are written `512kb`, `64mb`, `1gb` (a kb is 1024 bytes)
or in plain bytes. A list of addresses is separated by commas, repeated as a flag, or an array in TOML. An unknown key,
or a value outside its range, stops the node before it starts, with exit code 2 and a message that names it.

The options that describe the group and its limits (`cluster`, `gossip_interval`, `clock_skew_max`, `frame_bytes_max`,
`batch_bytes_max`, `presumed_dead_after`, `presumed_dead_quorum`, `replicas_max`) should be the same on all its nodes.
"""

_RULES = """
Where these do not hold the node does not start either, whatever set them: lower the first as well when the second is
lowered below its default. `bootstrap_expect` is more than half of the `join` list and not more than all of it. `port`
and `gossip_port` differ. `bind` to every address (`0.0.0.0`, `::`) needs `advertise`. A `join` list that is given and
empty needs `new_group`; one that has the node itself alone needs that or `bootstrap_expect`.
"""


def page() -> str:
    """The whole page."""
    lines = [_HEAD]
    section = ""
    for option in OPTIONS:
        if option.section != section:
            section = option.section
            lines += [f"## {section}\n", "| option | default | safe range | what it is |", "| --- | --- | --- | --- |"]
        lines.append(_row(option))
        if option is OPTIONS[-1] or OPTIONS[OPTIONS.index(option) + 1].section != section:
            lines.append("")
    lines += ["## Rules between options\n", "| option | not above | because |", "| --- | --- | --- |"]
    lines += [f"| `{lesser}` | `{greater}` | {why} |" for lesser, greater, why in ORDERED]
    return "\n".join([*lines, _RULES]).rstrip() + "\n"


def _row(option: Option) -> str:
    default = f"`{option.text(option.default)}`" if option.text(option.default) else "none"
    what = option.doc + (f". Outside the range, {option.outside}" if option.outside else "")
    return f"| `{option.name}` | {default} | {_range(option)} | {what} |"


def _range(option: Option) -> str:
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    if option.kind in (NUMBER, DURATION, SIZE):
        low, high = option.text(option.low), option.text(option.high)
        return f"`{low}` to `{high}`" if low != high else f"`{low}`"
    return option.kind


if __name__ == "__main__":
    print(page(), end="")
