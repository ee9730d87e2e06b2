"""What a command says of an error that is none of its own: one line, with what to do."""

from contact_activity.errors import FatalError, RetryError, StandstillError, to_check
from contact_activity.operations.aws_remedies import aws_remedy, missing_action
from contact_activity.run.errors import RunError

# 403 is an answer without a code: of a proxy or an endpoint's own policy.
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")
_DEBUG = "--debug shows where"


def failure_line(error: Exception, stack: str | None) -> str:
    """Return what a command says of an error that ended it. `stack`: where it acts, if on one."""
    place = f"--stack {stack} cannot be used: " if stack else ""
    if is_foreseen(error) and _of_aws(error.__cause__) is None:
        return f"{error}{to_check(error)}"
    return f"{place}{told(error)}"


def is_foreseen(error: BaseException) -> bool:
    """Whether it is an error of ours, whose text says what to do, so that no trace tells more."""
    return isinstance(error, RunError | StandstillError | RetryError | FatalError)


def told(error: BaseException) -> str:
    """Return the line. Of AWS's own text it holds only the action that is not allowed."""
    aws = _of_aws(error) or _of_aws(error.__cause__)
    if aws:
        return aws
    if isinstance(error, OSError):
        return _of_system(error)
    if type(error).__module__ == "sqlite3":
        return f"the state file cannot be used ({error}): check that its disk has room, and that it is yours"
    return f"an unexpected {type(error).__name__} ({_DEBUG}): {error}"


def _of_aws(error: BaseException | None) -> str | None:
    if error is None or not any(kind.__module__.startswith("botocore.") for kind in type(error).__mro__):
        return None
    answer = getattr(error, "response", None)
    if not isinstance(answer, dict):
        name = type(error).__name__
        return f"AWS cannot be asked ({name}): {aws_remedy(name) or _DEBUG}"
    code = str(answer.get("Error", {}).get("Code", "no code"))
    if code in _DENIED:
        return f"AWS denies access: {_missing(error, str(answer['Error'].get('Message', '')))}"
    return f"AWS refuses {getattr(error, 'operation_name', 'a call')} ({code}): {aws_remedy(code) or _DEBUG}"


def _missing(error: BaseException, message: str) -> str:
    action = missing_action(message) or f"the permission for {getattr(error, 'operation_name', 'the call')}"
    return f"the caller lacks {action}: have it allowed for this stack (the command's --help lists all)"


_SYSTEM_REMEDIES: dict[type[OSError], str] = {
    PermissionError: "give --state a folder that you may write to, or change who may",
    FileNotFoundError: "check the path",
    NotADirectoryError: "give a folder whose parents are folders",
    IsADirectoryError: "give a file",
    FileExistsError: "give a folder",
}
_BY_ERRNO = {
    28: "free some room, then run again: nothing is lost",
    122: "free some room in your quota, then run again: nothing is lost",
    30: "give --state a folder that can be written to",
    24: "raise the limit of open files (ulimit -n)",
}


def _of_system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    remedy = _BY_ERRNO.get(error.errno or 0) or _SYSTEM_REMEDIES.get(type(error), _DEBUG)
    return f"{where}{error.strerror or type(error).__name__}: {remedy}"
