"""The pages; they ask the same `Service` as the API."""

from fastapi import APIRouter

router = APIRouter(include_in_schema=False)
