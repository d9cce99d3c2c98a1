SELECT * FROM trace('{trace_id}')
