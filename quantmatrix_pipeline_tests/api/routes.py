"""One request per route of the API that the filled warehouse answers with 200 and a JSON body."""

from __future__ import annotations

EVERY_ROUTE = {
    "/health": "/health",
    "/stats/providers": "/stats/providers",
    "/api/market-data/sources/status": "/api/market-data/sources/status",
    "/ops/cursor/{symbol}/{interval}/{source}": "/ops/cursor/AAPL/1d/sample",
    "/api/v1/status": "/api/v1/status",
    "/api/v1/symbols": "/api/v1/symbols",
    "/api/v1/symbols/{symbol}/names": "/api/v1/symbols/FB/names",
    "/api/v1/indexes": "/api/v1/indexes",
    "/api/v1/indexes/{index}/members": "/api/v1/indexes/DOW30/members?on=2013-03-01",
    "/api/v1/historical/{symbol}": "/api/v1/historical/AAPL?start=2012-01-03",
    "/api/v1/market-data/db/history": "/api/v1/market-data/db/history?symbol=ADJ",
    "/api/v1/market/prices": "/api/v1/market/prices?symbol=MSFT&range=300d",
    "/api/v1/market/ta": "/api/v1/market/ta?symbol=FB",
    "/api/v1/market/atr": "/api/v1/market/atr?symbol=IBM",
    "/api/v1/market/breadth": "/api/v1/market/breadth?start=2012-06-01&limit=50",
    "/api/v1/market-data/coverage": "/api/v1/market-data/coverage",
    "/api/v1/market-data/coverage/history": "/api/v1/market-data/coverage/history?start=2013-01-02",
    "/api/v1/market-data/coverage/{symbol}": "/api/v1/market-data/coverage/BARE",
    "/api/v1/market-data/differences/{symbol}": "/api/v1/market-data/differences/AAPL?start=2013-01-02",
    "/api/v1/snapshots": "/api/v1/snapshots",
    "/api/v1/snapshots/{symbol}": "/api/v1/snapshots/GOOG",
    "/api/v1/snapshots/{symbol}/history": "/api/v1/snapshots/FB/history?limit=100",
    "/api/v1/snapshots/{symbol}/analysis": "/api/v1/snapshots/AAPL/analysis",
    "/api/v1/snapshots/{symbol}/history/{session}/analysis": "/api/v1/snapshots/MSFT/history/2012-06-15/analysis",
}

MANY_ROWS = {
    path: url
    for path, url in EVERY_ROUTE.items()
    if path.endswith(
        (
            "/symbols",
            "/names",
            "/indexes",
            "/members",
            "/historical/{symbol}",
            "/differences/{symbol}",
            "/history",
            "/prices",
            "/breadth",
            "/snapshots",
        )
    )
}
