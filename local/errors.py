"""The errors of the local stack; their messages are for the person who started it.

StackError
├── SettingError      a setting is invalid: one line that begins with its name
├── PortTakenError    another program listens on the requested port
├── ChildEndedError   a server ended unexpectedly or a tool failed: with the end of its log
├── DeployError       MiniStack rejected the template: with its reasons
├── NotReadyError     the deployed API does not respond correctly
└── DemoError         a request of the demo failed
"""


class StackError(RuntimeError):
    """The stack can't start or continue."""


class SettingError(StackError):
    """A setting has an invalid value."""


class PortTakenError(StackError):
    """Another program listens on the requested port."""


class ChildEndedError(StackError):
    """A process of the stack ended unexpectedly, or a tool failed."""


class DeployError(StackError):
    """MiniStack rejected the template."""


class NotReadyError(StackError):
    """The deployed API does not respond correctly."""


class DemoError(StackError):
    """A request of the demo failed."""
