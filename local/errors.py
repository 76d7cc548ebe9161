"""What can keep the stack from running; the text of each is for the person who started it.

StackError
├── SettingError      a setting can't work: one line, with its name first
├── PortTakenError    something else listens on the port that was asked for
├── ChildEndedError   a server ended by itself, or a tool failed: with the end of its log
├── DeployError       MiniStack refused the template: with its reasons
├── NotReadyError     the API was deployed, but does not answer as it should
└── DemoError         the API did not do what the demo shows
"""


class StackError(RuntimeError):
    """The stack can't start or go on."""


class SettingError(StackError):
    """A setting has a value that can't work."""


class PortTakenError(StackError):
    """Something else listens on the port that was asked for."""


class ChildEndedError(StackError):
    """A process of the stack ended by itself, or a tool failed."""


class DeployError(StackError):
    """MiniStack refused the template."""


class NotReadyError(StackError):
    """The API was deployed but does not answer as it should."""


class DemoError(StackError):
    """The API did not do what the demo shows."""
