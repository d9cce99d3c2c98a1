SELECT Attributes['os.version'] AS os_version, quantileExactInclusive(0.99)(Duration) / 1e6 AS p99_ms, count() AS n
FROM events
WHERE Signal = 'span' AND ResourceAttributes['cloud.region'] = '{region}'
  AND Attributes['http.request.method'] = '{method}' AND Attributes['http.route'] = '{route}'
GROUP BY 1 ORDER BY 2 DESC
