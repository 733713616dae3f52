"""The command line's frame: the app and its groups of commands. Only this folder knows cyclopts."""

from cyclopts import App, Parameter

from diptych import __version__

app = App(
    name="diptych",
    help="Adversarial image-to-image translation: from a folder of pictures to a trained model.",
    version=__version__,
    default_parameter=Parameter(negative=""),
    suppress_keyboard_interrupt=False,
)
train_app = App(name="train", help="Train a method on a folder of pictures; the same command again continues the run.")
app.command(train_app)
data_app = App(name="data", help="Look at, resize, combine, split, download pictures. Inputs are never touched.")
app.command(data_app)
