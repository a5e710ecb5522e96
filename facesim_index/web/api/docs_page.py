"""/docs: the API's description, shown by the Swagger UI of an installed package, without a CDN."""

from pathlib import Path

import swagger_ui_bundle
from fastapi import APIRouter
from starlette.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

SWAGGER_PATH = "/static/swagger"
SWAGGER_FOLDER = Path(str(swagger_ui_bundle.swagger_ui_path))

_PAGE = f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>facesim API</title>
<link rel="icon" href="{SWAGGER_PATH}/favicon-32x32.png">
<link rel="stylesheet" href="{SWAGGER_PATH}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{SWAGGER_PATH}/swagger-ui-bundle.js"></script>
<script src="/static/docs.js"></script>
</body>
</html>
"""


@router.get("/docs")
def get_docs() -> HTMLResponse:
    """Show the page.

    Returns
    -------
    HTMLResponse
    """
    return HTMLResponse(_PAGE)
