SELECT ResourceAttributes['cloud.region'] AS region, count(DISTINCT nullIf(Attributes['user.id'], '')) AS users
FROM events GROUP BY 1 ORDER BY 1
