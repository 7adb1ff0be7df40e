"""A flash sale played against a running gateway: fresh skus, a crowd that arrives at a rate, and an independent count of what
was promised to whom.

`plan` is what was asked for, `crowd_member` what each buyer does, `schedule` when they come; `goods` makes and clears the skus,
`buyer` plays one of them, `arrivals` all of them. `promises` counts from the answers alone, `inquest` compares the count with
the gateway's books. `figures` keeps rates and latencies in bounded memory, `watch` shows them, `result`, `charts` and `page`
write them down.
"""
