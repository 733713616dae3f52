"""What went wrong with a request, as one plain line: problem details of RFC 9457."""

import re
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import JSONResponse

from diptych.images.formats import MissingExtraError, TooLargeError, UnknownFormatError
from diptych.wording import brief, printable

MEDIA_TYPE = "application/problem+json"
LONGEST = 400  # characters of a line
FLAG = re.compile(r"--([a-z]+(?:-[a-z]+)*)")


class Problem(Exception):  # noqa: N818 -- the word of RFC 9457
    """A request that is not answered as it was asked, with the status of HTTP that says why."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    def response(self) -> JSONResponse:
        """The answer. Clients of Hugging Face and of KServe look for `error`."""
        return JSONResponse(
            {
                "type": "about:blank",
                "title": HTTPStatus(self.status).phrase,
                "status": self.status,
                "detail": self.detail,
                "error": self.detail,
            },
            status_code=self.status,
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


def of_error(error: ValueError) -> Problem:
    """The problem for what a picture or a request does not allow.

    >>> of_error(ValueError("--working-size 0: a number of pixels, 1 or more, is expected")).detail
    'working_size 0: a number of pixels, 1 or more, is expected'
    """
    status = 422
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TooLargeError):
            status = 413
        if isinstance(cause, UnknownFormatError | MissingExtraError):
            status = 415
        cause = cause.__cause__
    text = FLAG.sub(lambda found: found[1].replace("-", "_"), str(error))  # a flag has the name of a parameter
    return Problem(status, brief(printable(text), LONGEST))
