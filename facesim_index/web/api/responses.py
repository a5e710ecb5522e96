"""How the API sends JSON, pictures and plots."""

from starlette.responses import JSONResponse, Response

from facesim_index.utils.text import json_text
from facesim_index.web.service.crops import Jpeg

SVG_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"


class JsonResponse(JSONResponse):
    """A JSON document as the command line writes it: what cannot be shown is an escape."""

    def render(self, content: object) -> bytes:
        r"""Return a document as the bytes of its JSON.

        Parameters
        ----------
        content : object
            What `json.dumps` takes.

        Returns
        -------
        bytes
            UTF-8.  A byte of a file name that is not UTF-8 is an escape such as ``\udce9``.

        Raises
        ------
        ValueError
            A number is infinite or NaN, for which JSON has no word.
        """
        return json_text(content, allow_nan=False).encode("utf-8")


def jpeg_response(jpeg: Jpeg, known: str | None) -> Response:
    """Return a picture, or only that the client has it already.

    A client may keep it, but must ask each time whether it is still there.

    Parameters
    ----------
    jpeg : Jpeg
    known : str or None
        The request's ``If-None-Match``.

    Returns
    -------
    Response
        Status 200, or 304 without a body.
    """
    headers = {"ETag": jpeg.etag, "Cache-Control": "private, no-cache"}
    if known is not None and jpeg.etag in known:
        return Response(None, 304, headers)
    return Response(jpeg.data, 200, headers, "image/jpeg")


def svg_response(svg: bytes) -> Response:
    """Return a plot that this server has drawn.

    Parameters
    ----------
    svg : bytes

    Returns
    -------
    Response
        Its policy lets the plot use the styles inside it, and nothing else.
    """
    return Response(svg, 200, {"Content-Security-Policy": SVG_CSP}, "image/svg+xml")
