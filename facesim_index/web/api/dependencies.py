"""What FastAPI hands to routes beside the parameters of the request."""

from typing import Annotated

from fastapi import Depends, Request

from facesim_index.web.service.service import Service


def service_of(request: Request) -> Service:
    """Return the service that a request is for.

    Parameters
    ----------
    request : Request

    Returns
    -------
    Service
    """
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


async def _service(request: Request) -> Service:
    return service_of(request)


# As a plain function it would be called in another thread, which takes longer than the call.
Asks = Annotated[Service, Depends(_service)]
