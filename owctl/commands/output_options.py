"""``-q``, ``--debug`` and ``--no-color`` behind a command's name, too."""

import click


def accept_output_options(command: click.Command) -> None:
    """Let ``-q``, ``--debug`` and ``--no-color`` stand after the command, too."""
    if any(parameter.name == "after_quiet" for parameter in command.params):
        return
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            accept_output_options(sub)
    taken = {option for parameter in command.params for option in parameter.opts}

    def switch(attribute: str) -> object:
        def callback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
            if value and ctx.obj is not None:
                ctx.obj.set_output(**{attribute: True})

        return callback

    for flags, attribute, text in (
        (("-q", "--quiet"), "quiet", "No progress, no messages; results and errors only."),
        (("--debug",), "debug", "Show tracebacks and what is sent to the engine."),
        (("--no-color",), "no_color", "No colours (also: NO_COLOR in the environment)."),
    ):
        options = [flag for flag in flags if flag not in taken]
        command.params.append(
            click.Option(
                [*options, f"after_{attribute}"],
                is_flag=True,
                expose_value=False,
                hidden=attribute != "quiet",
                help=text,
                callback=switch(attribute),
                is_eager=True,
            )
        )
