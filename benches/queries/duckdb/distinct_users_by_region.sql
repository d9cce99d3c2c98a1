SELECT "cloud.region", count(DISTINCT "user.id") AS users FROM events GROUP BY 1 ORDER BY 1
