"""Playing real orders against a running gateway, and counting independently what it should have left in
stock.

`orders` reads the file, `start` loads the stock and reads it back, `invoice` plays one invoice, `share` many
at a pace, `workers` on several processes; `tally` counts from the answers alone, `verdict` compares, `report`
tells.
"""
